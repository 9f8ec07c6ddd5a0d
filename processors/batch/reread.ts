/**
 * Step 2 of a batch for records that were read before: the events among them that were dropped since too many were held (`overflow.ts`) are
 * held again. Called by the task in place of `decode.ts` where the answer of a fetch begins at a dropped range.
 */
import type { FetchedPartition } from '../../runtime/broker.ts'
import { isCovered } from '../watermarks/frontier.ts'
import { sweepHeld } from './held-events.ts'
import { dropOverflow, setBarrier } from './overflow.ts'
import { readRawEvent, readRepartition } from './read-event.ts'
import type { FetchedEvents, StageEvent } from './stage-event.ts'
import { fetchedEvents, noteReadAgain, type ReadInput } from './task-input.ts'
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
  const { partition } = state.options
  const again = fetchedEvents(records, { input: index, partition, round, readAtMs: nowMs })
  for (let row = 0; row < records.length; row++) {
    if (records.offsets[row]! >= range.to) break
    const event = eventAgain(state, input, again, row, range.maxEventTime)
    if (event === null) continue
    noteReadAgain(input, event)
    if (!isCovered(event, state.alignment.frontier) && !held.has(event.offset)) {
      event.repeats = input.droppedRepeats.get(event.offset) ?? null
      input.droppedRepeats.delete(event.offset)
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
  sweepHeld(input, records.bytes.length, state.options.limits.heldMax)
}

/** Null for a record without an event: a rejected one, or a watermark. */
function eventAgain(
  state: TaskState,
  { stream, firstSource }: ReadInput,
  fetched: FetchedEvents,
  row: number,
  maxEventTimeBefore: number,
): StageEvent | null {
  const read = stream
    ? readRawEvent(state, fetched, stream, firstSource, row, maxEventTimeBefore)
    : readRepartition(state, fetched, firstSource, row, maxEventTimeBefore)
  return 'source' in read ? read : null
}
