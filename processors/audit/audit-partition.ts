/** How far the audit has read a partition, and what is known of the event times in it. Plain state; called by the audit only. */
import type { FetchedPartition, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import type { AuditedInput } from './audit-task.ts'

export interface AuditedPartition extends TopicPartition, AuditedInput {
  readonly isAtEnd: boolean
  /** Latest event time read. */
  readonly latest: number
  read(record: LogRecord): void
  sawTime(offset: number, time: number): void
  reached(fetched: FetchedPartition): void
}

/** `aheadMs`: events are dated at most so much after they were appended. `stepMs`: resolution at which event times are kept. */
export function createAuditedPartition(
  { topic, partition }: TopicPartition,
  start: number,
  { aheadMs, stepMs }: { readonly aheadMs: number; readonly stepMs: number },
): AuditedPartition {
  let next = start
  let isAtEnd = false
  let latest = Number.NEGATIVE_INFINITY
  /** Records before the first one read were appended before it: that bounds their event times. */
  let unreadUntil = start === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  let isFirst = true
  const steps: Array<{ readonly offset: number; readonly time: number }> = []

  function read({ appendedAtMs }: LogRecord): void {
    if (isFirst && start > 0) unreadUntil = appendedAtMs + aheadMs
    isFirst = false
  }

  function sawTime(offset: number, time: number): void {
    if (time > latest) latest = time
    const last = steps.at(-1)
    if (!last || time >= last.time + stepMs) steps.push({ offset, time })
    if (steps.length > stepsMax) steps.splice(0, stepsMax / 2)
  }

  function latestBefore(offset: number): number {
    const step = steps.findLast((candidate) => candidate.offset < offset)
    // Of what was forgotten only this is known: it is not later than what came after it.
    return step ? step.time + stepMs : (steps[0]?.time ?? Number.NEGATIVE_INFINITY)
  }

  return {
    topic,
    partition,
    get next() {
      return next
    },
    get isAtEnd() {
      return isAtEnd
    },
    get latest() {
      return latest
    },
    get unreadUntil() {
      return unreadUntil
    },
    latestBefore,
    read,
    sawTime,
    reached(fetched) {
      next = fetched.next
      isAtEnd = fetched.next >= fetched.end
    },
  }
}

const stepsMax = 8_192
