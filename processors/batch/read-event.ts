/**
 * A fetched record in, its event out, with its values in rows: a raw record is decoded and validated in one pass, or the slower way where
 * that does not succeed; a repartition record carries an event. Called when records are read (`decode.ts`) and read again (`reread.ts`).
 */
import assert from 'node:assert/strict'
import type { Records } from '../../runtime/records.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { createRows, type EventRows, putEvent, textAt } from '../../schemas/wire/event-rows.ts'
import type { RepartitionRecord } from '../../schemas/wire/records.ts'
import { validateRecord } from '../validate.ts'
import { type ReadAt, type StageEvent, stageEventOf } from './stage-event.ts'
import type { ReadableRecords } from './task-input.ts'
import type { TaskState } from './task-state.ts'

export type RawEvent =
  | { readonly ok: true; readonly event: StageEvent }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** `readAt.maxEventTimeBefore`: greatest event time of valid events at earlier offsets of the partition. */
export function readRawEvent(
  state: TaskState,
  { rows: ofStreams, records }: ReadableRecords,
  stream: StreamPlan,
  readAt: ReadAt,
): RawEvent {
  const { partition, partitions } = state.options
  const { recordIndex } = readAt
  const rows = rowsOf(ofStreams, stream, records)
  const { valueStarts, valueEnds } = records
  const isRead = stream.codec.decodeRow(rows, valueStarts[recordIndex]!, valueEnds[recordIndex]!, recordIndex)
  if (!isRead || !isAcceptable(state, stream, rows, readAt)) {
    const input = { stream, partition, partitions }
    const validated = validateRecord(records.at(recordIndex), input, readAt.maxEventTimeBefore)
    if (!validated.ok) return validated
    putEvent(rows, recordIndex, validated.event)
  }
  return { ok: true, event: eventOf(state, stream, rows, null, readAt) }
}

export function decodeRepartition(
  { options }: TaskState,
  { records }: ReadableRecords,
  index: number,
): RepartitionRecord {
  const { value } = records.at(index)
  assert(value, 'a repartition topic has no tombstones')
  return options.stage.repartitionIn!.codec.decode(value)
}

export function readRepartitionEvent(
  state: TaskState,
  { rows: ofStreams, records }: ReadableRecords,
  decoded: Extract<RepartitionRecord, { kind: 'event' }>,
  readAt: ReadAt,
): StageEvent {
  const stream = state.options.plan.streams[decoded.stream]!
  const rows = rowsOf(ofStreams, stream, records)
  putEvent(rows, readAt.recordIndex, decoded.event)
  return eventOf(state, stream, rows, decoded, readAt)
}

function rowsOf(ofStreams: EventRows[], stream: StreamPlan, records: Records): EventRows {
  ofStreams[stream.index] ??= createRows(stream.codec.layout, records.length, records.bytes)
  return ofStreams[stream.index]!
}

/** What `validateRecord` checks of a valid event: its partition and its time. */
function isAcceptable(
  { options, keys }: TaskState,
  stream: StreamPlan,
  { layout, numbers, textStarts, textEnds, bytes }: EventRows,
  { recordIndex, records, maxEventTimeBefore }: ReadAt,
): boolean {
  const { partition } = options
  const { columns } = stream
  const time = numbers[recordIndex * layout.numberCount + columns.time]!
  if (time > records.appendedAtMs[recordIndex]! + stream.aheadMs || time < maxEventTimeBefore - stream.latenessMs)
    return false
  if (stream.rekey) return true
  const at = recordIndex * layout.textCount + columns.key
  return keys.partitions[keys.find(bytes, textStarts[at]!, textEnds[at]!)] === partition
}

function eventOf(
  state: TaskState,
  stream: StreamPlan,
  rows: EventRows,
  carried: Extract<RepartitionRecord, { kind: 'event' }> | null,
  readAt: ReadAt,
): StageEvent {
  const column = state.keyColumns[stream.index]!
  const key = column < 0 ? null : keyAt(state, rows, readAt.recordIndex * rows.layout.textCount + column)
  return stageEventOf(stream, rows, readAt.recordIndex, key, carried, state.options.partition, readAt)
}

function keyAt({ keys }: TaskState, rows: EventRows, at: number): string {
  const start = rows.textStarts[at]!
  return start >= 0 ? keys.texts[keys.find(rows.bytes, start, rows.textEnds[at]!)]! : textAt(rows, at)!
}
