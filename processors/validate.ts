/**
 * Validates a raw record: a record in, an event or all problems with it out. The result depends only on the record, its partition and the
 * event time of earlier offsets, so that reading again gives the same result. Called by `batch/decode.ts`, and by the audit.
 */
import type { LogRecord } from '../runtime/broker.ts'
import { partitionOf } from '../runtime/partition.ts'
import { formatDuration } from '../schemas/kernel/duration.ts'
import type { EventValues, Problem } from '../schemas/kernel/event.ts'
import { showValue } from '../schemas/kernel/show-value.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { problem } from '../schemas/wire/event-codec.ts'

export type Verdict =
  | { readonly ok: true; readonly event: EventValues; readonly time: number }
  | { readonly ok: false; readonly problems: readonly Problem[] }

export interface ValidatedInput {
  readonly stream: StreamPlan
  readonly partition: number
  readonly partitions: number
}

/** `clock`: greatest event time of valid events at earlier offsets of this partition. */
export function validateRecord(record: LogRecord, input: ValidatedInput, clock: number): Verdict {
  const { stream } = input
  const decoded = stream.codec.decode(record.value)
  if (!decoded.ok) return decoded
  const { event } = decoded
  const time = event[stream.timeField] as number
  const fault = checkPartition(event, input) ?? checkTime(time, record.appendedAtMs, clock, stream)
  return fault ? { ok: false, problems: [fault] } : { ok: true, event, time }
}

/** Other clients may hash keys differently; an entity's events must all reach its own task, directly or over a repartition topic. */
function checkPartition(event: EventValues, { stream, partition, partitions }: ValidatedInput): Problem | null {
  if (stream.rekey) return null
  const key = event[stream.keyField] as string
  const belongs = partitionOf(Buffer.from(key), partitions)
  if (belongs === partition) return null
  const expected = `partition ${belongs} of ${partitions}, where the key ${showValue(key)} belongs by murmur2`
  return problem(`/${stream.keyField}`, 'partition_mismatch', expected, `partition ${partition}`)
}

function checkTime(time: number, appendedAtMs: number, clock: number, stream: StreamPlan): Problem | null {
  const { timeField, aheadMs, latenessMs } = stream
  if (isAhead(time, appendedAtMs, stream)) {
    const expected = `at most ${formatDuration(aheadMs)} after ${instant(appendedAtMs)}, when the record was appended`
    return problem(`/${timeField}`, 'ahead', expected, instant(time))
  }
  if (isLate(time, clock, stream)) {
    const expected = `at most ${formatDuration(latenessMs)} before ${instant(clock)}, the latest earlier event of the partition`
    return problem(`/${timeField}`, 'late', expected, instant(time))
  }
  return null
}

/** Dated further ahead of its append time than the stream allows. */
export function isAhead(time: number, appendedAtMs: number, { aheadMs }: StreamPlan): boolean {
  return time > appendedAtMs + aheadMs
}

/** Later than the stream allows. `clock`: as of `validateRecord`. */
export function isLate(time: number, clock: number, { latenessMs }: StreamPlan): boolean {
  return time < clock - latenessMs
}

function instant(ms: number): string {
  return new Date(ms).toISOString()
}
