/**
 * A fetched record in, its event out, with its values in rows: a raw record is decoded and validated in one pass, or the slower way where
 * that does not succeed; a repartition record carries an event. Called when records are read (`decode.ts`) and read again (`reread.ts`).
 */
import assert from 'node:assert/strict'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { createRows, type EventRows, putEvent, textAt } from '../../schemas/wire/event-rows.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'
import { createCarriedRows, putCarried } from '../../schemas/wire/repartition-reader.ts'
import { isAhead, isLate, validateRecord } from '../validate.ts'
import { type FetchedEvents, type StageEvent, stageEventOf } from './stage-event.ts'
import type { TaskState } from './task-state.ts'

/**
 * The event of record `row`, or all that is wrong with it. `maxEventTimeBefore`: greatest event time of valid events at earlier offsets of
 * the partition.
 */
export function readRawEvent(
  state: TaskState,
  fetched: FetchedEvents,
  stream: StreamPlan,
  source: number,
  row: number,
  maxEventTimeBefore: number,
): StageEvent | readonly Problem[] {
  const { partition, partitions } = state.options
  const { records } = fetched
  const rows = rowsOf(fetched, stream)
  fetched.maxEventTimes[row] = maxEventTimeBefore
  const isRead = stream.codec.decodeRow(rows, records.valueStarts[row]!, records.valueEnds[row]!, row)
  if (!isRead || !isAcceptable(state, stream, fetched, rows, row)) {
    const validated = validateRecord(records.at(row), { stream, partition, partitions }, maxEventTimeBefore)
    if (!validated.ok) return validated.problems
    putEvent(rows, row, validated.event)
  }
  return eventOf(state, stream, fetched, row, source)
}

/** The watermark or the event of record `row`. `firstSource`: of the input in the alignment. */
export function readRepartition(
  state: TaskState,
  fetched: FetchedEvents,
  firstSource: number,
  row: number,
  maxEventTimeBefore: number,
): WatermarkRecord | StageEvent {
  const { plan, stage } = state.options
  const { codec } = stage.repartitionIn!
  const { bytes, valueStarts, valueEnds } = fetched.records
  fetched.maxEventTimes[row] = maxEventTimeBefore
  fetched.carried ??= createCarriedRows(fetched.records.length, codec.slotCount)
  const { carried } = fetched
  const [start, end] = [valueStarts[row]!, valueEnds[row]!]
  const index = codec.streamOf(bytes, start, end)
  if (index >= 0 && codec.read(index, rowsOf(fetched, plan.streams[index]!), start, end, row, carried))
    return eventOf(state, plan.streams[index]!, fetched, row, firstSource + carried.sources[row]!)
  const { value } = fetched.records.at(row)
  assert(value, 'a repartition topic has no tombstones')
  const decoded = codec.decode(value)
  if (decoded.kind === 'watermark') return decoded
  const stream = plan.streams[decoded.stream]!
  putEvent(rowsOf(fetched, stream), row, decoded.event)
  putCarried(carried, row, decoded)
  return eventOf(state, stream, fetched, row, firstSource + decoded.source)
}

function rowsOf({ rows, records }: FetchedEvents, stream: StreamPlan): EventRows {
  rows[stream.index] ??= createRows(stream.codec.layout, records.length, records.bytes)
  return rows[stream.index]!
}

/** What `validateRecord` checks of a valid event: its partition and its time. */
function isAcceptable(
  { options, keys }: TaskState,
  stream: StreamPlan,
  { records, maxEventTimes }: FetchedEvents,
  { layout, numbers, textStarts, textEnds, bytes }: EventRows,
  row: number,
): boolean {
  const { columns } = stream
  const time = numbers[row * layout.numberCount + columns.time]!
  if (isAhead(time, records.appendedAtMs[row]!, stream) || isLate(time, maxEventTimes[row]!, stream)) return false
  if (stream.rekey) return true
  const at = row * layout.textCount + columns.key
  return keys.partitions[keys.find(bytes, textStarts[at]!, textEnds[at]!)] === options.partition
}

function eventOf(
  state: TaskState,
  stream: StreamPlan,
  fetched: FetchedEvents,
  row: number,
  source: number,
): StageEvent {
  const column = state.keyColumns[stream.index]!
  const rows = fetched.rows[stream.index]!
  const key = column < 0 ? null : keyAt(state, rows, row * rows.layout.textCount + column)
  return stageEventOf(stream, fetched, row, source, key)
}

function keyAt({ keys }: TaskState, rows: EventRows, at: number): string {
  const start = rows.textStarts[at]!
  return start >= 0 ? keys.texts[keys.find(rows.bytes, start, rows.textEnds[at]!)]! : textAt(rows, at)!
}
