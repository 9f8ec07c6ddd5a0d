/**
 * The events of one request in, the result of each and the records to send out: valid events for their raw topic, invalid ones as dead
 * letters. Called by the HTTP intake, which sends the records before it answers.
 */
import type { OutRecord } from '../runtime/broker.ts'
import type { Problem } from '../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../schemas/plan/plan.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import { deadLetterRecord } from './dead-letter.ts'
import { createPreparation, type Prepared } from './prepare.ts'

/** A longer event is rejected: in Avro it could exceed the size limit of a Kafka record. */
export const eventBytesMax = 524_288

export type EventResult =
  | {
      readonly status: 'accepted'
      readonly stream: string
      /** Of the id field. */
      readonly id: string
      readonly partition: number
    }
  | { readonly status: 'rejected'; readonly problems: readonly Problem[] }

export interface TakenEvents {
  /** One for each event, in their order. */
  readonly results: readonly EventResult[]
  readonly records: readonly OutRecord[]
}

export interface EventTaker {
  take(stream: StreamPlan, events: readonly Buffer[]): TakenEvents
  /** Rejects a body that cannot be split into events. */
  reject(stream: StreamPlan, body: Buffer, problem: Problem): TakenEvents
}

export function createEventTaker(
  { streams, rejected }: Pick<Plan, 'streams' | 'rejected'>,
  partitionsOf: (topic: string) => number,
  nowMs: () => number,
): EventTaker {
  const prepare = createPreparation(streams, partitionsOf)
  const deadLetterPartitions = partitionsOf(rejected.topic)
  let deadLetters = 0

  function check(stream: StreamPlan, bytes: Buffer): Prepared {
    if (bytes.length <= eventBytesMax) return prepare({ stream: stream.name, bytes })
    const problems = [problem('', 'length', `an event of at most ${eventBytesMax} bytes`, `${bytes.length} bytes`)]
    return { kind: 'rejected', problems }
  }

  function rejectedRecord(stream: StreamPlan, bytes: Buffer, problems: readonly Problem[]): OutRecord {
    return deadLetterRecord(
      rejected,
      stream,
      { bytes, problems, receivedAtMs: nowMs() },
      deadLetters++ % deadLetterPartitions,
    )
  }

  return {
    take(stream, events) {
      const results: EventResult[] = []
      const records: OutRecord[] = []
      for (const bytes of events) {
        const checked = check(stream, bytes)
        if (checked.kind === 'event') {
          const record = checked.event.record()
          records.push(record)
          const { stream: name, id } = checked.event.sent
          results.push({ status: 'accepted', stream: name, id, partition: record.partition })
        } else if (checked.kind === 'rejected') {
          records.push(rejectedRecord(stream, bytes, checked.problems))
          results.push({ status: 'rejected', problems: checked.problems })
        }
      }
      return { results, records }
    },
    reject(stream, body, problem) {
      const problems = [problem]
      return { results: [{ status: 'rejected', problems }], records: [rejectedRecord(stream, body, problems)] }
    },
  }
}
