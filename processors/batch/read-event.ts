/**
 * A fetched record in, its event out, with its values in rows: a raw record is decoded and validated in one pass, or the slower way where
 * that does not succeed; a repartition record carries an event. Called when records are read (`decode.ts`) and read again (`reread.ts`).
 */
import assert from 'node:assert/strict'
import type { Records } from '../../runtime/records.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { createRows, type EventRows, putEvent, textAt } from '../../schemas/wire/event-rows.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'
import { type CarriedEvent, emptyCarried } from '../../schemas/wire/repartition-reader.ts'
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
  return { ok: true, event: eventOf(state, stream, rows, null, noneUnsent, readAt) }
}

/** The watermark record, or the event with the source that it is of, both of which a repartition topic holds. */
export type RepartitionRead =
  | WatermarkRecord
  | { readonly kind: 'event'; readonly event: StageEvent; readonly source: number }

/** `firstSource`: of the input in the alignment. */
export function readRepartition(
  state: TaskState,
  { rows: ofStreams, records }: ReadableRecords,
  firstSource: number,
  readAt: Omit<ReadAt, 'source'>,
): RepartitionRead {
  const { plan, stage } = state.options
  const { codec } = stage.repartitionIn!
  const { recordIndex } = readAt
  const { bytes, valueStarts, valueEnds } = records
  const start = valueStarts[recordIndex]!
  const rows = (stream: number) => rowsOf(ofStreams, plan.streams[stream]!, records)
  if (codec.read(bytes, start, valueEnds[recordIndex]!, rows, recordIndex, carried)) {
    return eventRead(state, rows(carried.stream), carried, noneUnsent, firstSource, readAt)
  }
  const { value } = records.at(recordIndex)
  assert(value, 'a repartition topic has no tombstones')
  const decoded = codec.decode(value)
  if (decoded.kind === 'watermark') return decoded
  const { stream, source, origin, slots, unsent, positions } = decoded
  putEvent(rows(stream), recordIndex, decoded.event)
  const from = { originPartition: origin.partition, originOffset: origin.offset }
  return eventRead(state, rows(stream), { stream, source, ...from, slots, positions }, unsent, firstSource, readAt)
}

/** What was read last; nothing of it is kept but slots and positions. */
const carried = emptyCarried()
const noneUnsent: readonly string[] = []

function eventRead(
  state: TaskState,
  rows: EventRows,
  from: CarriedEvent,
  unsent: readonly string[],
  firstSource: number,
  readAt: Omit<ReadAt, 'source'>,
): RepartitionRead {
  const { source } = from
  const stream = state.options.plan.streams[from.stream]!
  const event = eventOf(state, stream, rows, from, unsent, { ...readAt, source: firstSource + source })
  return { kind: 'event', event, source }
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
  from: CarriedEvent | null,
  unsent: readonly string[],
  readAt: ReadAt,
): StageEvent {
  const column = state.keyColumns[stream.index]!
  const key = column < 0 ? null : keyAt(state, rows, readAt.recordIndex * rows.layout.textCount + column)
  return stageEventOf(stream, rows, readAt.recordIndex, key, from, unsent, state.options.partition, readAt)
}

function keyAt({ keys }: TaskState, rows: EventRows, at: number): string {
  const start = rows.textStarts[at]!
  return start >= 0 ? keys.texts[keys.find(rows.bytes, start, rows.textEnds[at]!)]! : textAt(rows, at)!
}
