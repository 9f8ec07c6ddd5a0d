/**
 * Step 2 of a batch for records that were read before: the events among them that were dropped since too many were held (`overflow.ts`) are
 * held again. Called by the task in place of `decode.ts` where the answer of a fetch begins at a dropped range.
 */
import type { FetchedPartition } from '../../runtime/broker.ts'
import { isCovered } from '../watermarks/frontier.ts'
import { dropOverflow, setBarrier } from './overflow.ts'
import { readRawEvent, readRepartition } from './read-event.ts'
import type { ReadAt, StageEvent } from './stage-event.ts'
import { noteReadAgain, type ReadableRecords, type ReadInput, readable } from './task-input.ts'
import type { TaskState } from './task-state.ts'

export function isReread({ inputs }: TaskState, { topic, from }: FetchedPartition): boolean {
  return inputs.some((input) => input.topic === topic && input.refill?.from === from)
}

/**
 * What the frontier covers is done, since nothing beyond a dropped event is released; some others are still held. Progress and rejections
 * were observed when the records were read first.
 */
export function acceptReread(state: TaskState, fetched: FetchedPartition, round: number, nowMs: number): void {
  const index = state.inputs.findIndex(({ topic }) => topic === fetched.topic)
  const input = state.inputs[index]!
  const range = input.refill!
  const held = new Set(input.held.slice(input.from).map(({ offset }) => offset))
  const added: StageEvent[] = []
  const { records } = fetched
  const readableAgain = readable(records)
  for (let recordIndex = 0; recordIndex < records.length; recordIndex++) {
    if (records.offsets[recordIndex]! >= range.to) break
    const event = eventAgain(state, input, readableAgain, {
      round,
      readAtMs: nowMs,
      input: index,
      maxEventTimeBefore: range.maxEventTime,
      records,
      recordIndex,
    })
    if (event === null) continue
    noteReadAgain(input, event)
    if (!isCovered(event, state.alignment.frontier) && !held.has(event.offset)) {
      event.isRepeat = input.droppedRepeats.delete(event.offset)
      added.push(event)
      state.heldAgain++
      state.alignment.push(event)
    }
    if (event.time > range.maxEventTime) range.maxEventTime = event.time
  }
  input.held = [...input.held.slice(input.from), ...added].sort((a, b) => a.offset - b.offset)
  input.from = 0
  range.from = Math.min(fetched.next, range.to)
  state.readAtMs = nowMs
  // What was dropped comes before all that it waits for.
  state.nearerAtMs = nowMs
  if (range.from === range.to) {
    input.refill = null
    setBarrier(state)
  }
  dropOverflow(state)
}

/** Null for a record without an event: a rejected one, or a watermark. */
function eventAgain(
  state: TaskState,
  { stream, firstSource }: ReadInput,
  records: ReadableRecords,
  at: Omit<ReadAt, 'source'>,
): StageEvent | null {
  if (stream) {
    const read = readRawEvent(state, records, stream, { ...at, source: firstSource })
    return read.ok ? read.event : null
  }
  const read = readRepartition(state, records, firstSource, at)
  return read.kind === 'event' ? read.event : null
}
