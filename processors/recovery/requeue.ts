/**
 * Takes a dead letter and the bytes to retry, and returns the record for the raw topic, or why it would be rejected again. Pure; called by
 * `millrace rejected replay`.
 */
import type { OutRecord } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'
import { quoteValue } from '../../schemas/kernel/show-value.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import { replayHeaders } from '../../schemas/wire/dead-letter.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { validateRecord } from '../validate.ts'

export type Requeue =
  | { readonly ok: true; readonly record: OutRecord; readonly id: string }
  | { readonly ok: false; readonly code: string; readonly reason: string }

export interface RequeueOptions {
  readonly plan: Plan
  readonly partitionsOf: (topic: string) => number
  readonly nowMs: number
}

/**
 * Validates everything that does not depend on other records of the topic: lateness is known once the event is read again. Key and
 * partition follow the definition, not the original record.
 */
export function requeue(deadLetter: DeadLetter, value: Buffer | null, options: RequeueOptions): Requeue {
  const { plan, partitionsOf, nowMs } = options
  const stream = plan.streams.find(({ topic }) => topic === deadLetter.topic)
  if (!stream) {
    const topics = plan.streams.map(({ topic }) => topic).join(', ')
    return {
      ok: false,
      code: 'topic_unknown',
      reason: `expected a raw topic of ${plan.name} (${topics}), received ${deadLetter.topic}`,
    }
  }
  const decoded = stream.codec.decode(value)
  if (!decoded.ok) return rejectedFor(decoded.problems)
  const changed = changedIdentity(deadLetter, decoded.event, stream, plan)
  if (changed) return changed
  const key = Buffer.from(decoded.event[stream.keyField] as string)
  const partitions = partitionsOf(stream.topic)
  const partition = partitionOf(key, partitions)
  const record = { topic: stream.topic, partition, key, value, headers: replayHeaders(deadLetter) }
  const asAppended = { ...record, offset: 0, appendedAtMs: nowMs }
  const validated = validateRecord(asAppended, { stream, partition, partitions }, Number.NEGATIVE_INFINITY)
  return validated.ok
    ? { ok: true, record, id: validated.event[stream.idField] as string }
    : rejectedFor(validated.problems)
}

/**
 * Stages before the one that rejected the event have already folded it, and recognise it by id, time and keys when it comes again. These
 * fields must not change.
 */
function changedIdentity(deadLetter: DeadLetter, event: EventValues, stream: StreamPlan, plan: Plan): Requeue | null {
  const stage = plan.stages.find(({ entity }) => entity.name === deadLetter.stage)
  if (!stage || stream.entersAt === null || stage.index <= stream.entersAt) return null
  const original = stream.codec.decode(deadLetter.value)
  if (!original.ok) return null
  const keys = plan.stages.flatMap(({ entity }) => entity.keyFields.get(stream.index) ?? [])
  const field = [stream.idField, stream.timeField, ...keys].find((name) => event[name] !== original.event[name])
  if (field === undefined) return null
  const expected = `${quoteValue(original.event[field])}, since earlier stages have folded the event`
  return {
    ok: false,
    code: 'identity_changed',
    reason: `/${field} expected ${expected}, received ${quoteValue(event[field])}`,
  }
}

function rejectedFor(problems: readonly Problem[]): Requeue {
  const [{ path, code, expected, received }] = problems as [Problem]
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : ''
  return { ok: false, code, reason: `${path} expected ${expected}, received ${received}${more}`.trim() }
}
