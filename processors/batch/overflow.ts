/**
 * Keeps the events that a task holds bounded: what is too much is dropped, last in order first, and its records are read again once there
 * is room (`reread.ts`). Reading itself goes on, since the progress that the held events wait for may lie behind them. Nothing at or
 * beyond the first dropped event is released meanwhile, and the position of the task lies before it, as if it were held. Called where
 * events are read and taken.
 */
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { earlierOf } from '../watermarks/frontier.ts'
import type { StageEvent } from './stage-event.ts'
import { type DroppedRange, noteDropped, type ReadInput } from './task-input.ts'
import type { TaskState } from './task-state.ts'

/** Dropped events of one range at most, and four times as many records: what is read again at once. */
const rangeEventsMax = 4_096
const recordsPerEventMax = 4

/** Drops half of the held events where they are too many. */
export function dropOverflow(state: TaskState): void {
  const { heldMax } = state.options.limits
  if (state.alignment.held > heldMax) drop(state, Math.ceil(heldMax / 2))
}

/** Chooses the next records to be read again, where there is room for them, or where what is held waits for them. */
export function planRefill(state: TaskState): void {
  const { alignment, inputs, options } = state
  const { heldMax } = options.limits
  if (inputs.some(({ refill }) => refill !== null)) return
  let input = inputOfFirst(inputs)
  if (!input) return
  if (alignment.held > heldMax / 4) {
    if (!alignment.isBehindBarrier()) return
    if (alignment.held > heldMax / 2) {
      drop(state, Math.floor(heldMax / 2))
      input = inputOfFirst(inputs)!
    }
  }
  const range = firstOf(input.dropped)!
  input.dropped = input.dropped.filter((other) => other !== range)
  input.refill = range
}

/** Everything up to this position that was read is held or done. */
export function hasDroppedUpTo({ inputs }: TaskState, position: CanonicalPosition): boolean {
  const first = firstDropped(inputs)
  return first !== null && earlierOf(first, position) === first
}

/** Called when dropped events were read again, and when more were dropped. */
export function setBarrier({ alignment, inputs }: TaskState): void {
  alignment.setBarrier(firstDropped(inputs))
}

function drop(state: TaskState, keep: number): void {
  const { alignment, inputs, options } = state
  const dropped = alignment.drop(keep)
  state.overflowed += dropped.length
  const eventsMax = Math.max(1, Math.min(rangeEventsMax, options.limits.heldMax >> 3))
  for (const [index, input] of inputs.entries()) {
    const ofInput = dropped.filter((event) => event.input === index)
    if (ofInput.length > 0) dropFromInput(input, ofInput, eventsMax)
  }
  setBarrier(state)
}

function dropFromInput(input: ReadInput, events: StageEvent[], eventsMax: number): void {
  const set = new Set(events)
  input.held = input.held.slice(input.from).filter((event) => !set.has(event))
  input.from = 0
  for (const event of events) {
    if (event.repeats) input.droppedRepeats.set(event.offset, event.repeats)
    noteDropped(input, event)
  }
  events.sort((a, b) => a.offset - b.offset)
  const old = input.refill ? [...input.dropped, input.refill].sort((a, b) => a.from - b.from) : input.dropped
  const added = addToRanges(old, events, eventsMax)
  input.dropped = [...input.dropped, ...added].sort((a, b) => a.from - b.from)
}

/** Widens nothing: an event within a range moves only its first position; others get ranges of their own. Both are in offset order. */
function addToRanges(old: readonly DroppedRange[], events: readonly StageEvent[], eventsMax: number): DroppedRange[] {
  const added: DroppedRange[] = []
  let count = 0
  let next = 0
  for (const event of events) {
    while (next < old.length && old[next]!.to <= event.offset) next++
    const range = old[next]
    const isWithin = range !== undefined && range.from <= event.offset
    if (isWithin) {
      range.first = earlierPosition(range.first, event)
      continue
    }
    const last = added.at(-1)
    const hasRoom = last && count < eventsMax && event.offset - last.from < eventsMax * recordsPerEventMax
    // No range begins within another: it would be read twice. The nearest old one behind the event tells.
    const isApart = last && next > 0 && old[next - 1]!.from >= last.to
    if (last && hasRoom && !isApart) {
      last.to = event.offset + 1
      last.first = earlierPosition(last.first, event)
      count++
    } else {
      const { offset, maxEventTimeBefore } = event
      const first = { time: event.time, order: event.order }
      added.push({ from: offset, to: offset + 1, maxEventTime: maxEventTimeBefore, first })
      count = 1
    }
  }
  return added
}

/** Copied: a dropped event must not be kept in memory by its position. */
function earlierPosition(a: CanonicalPosition, b: CanonicalPosition): CanonicalPosition {
  const { time, order } = earlierOf(a, b)
  return { time, order }
}

function rangesOf({ dropped, refill }: ReadInput): readonly DroppedRange[] {
  return refill ? [...dropped, refill] : dropped
}

function firstOf(ranges: readonly DroppedRange[]): DroppedRange | undefined {
  return ranges.reduce<DroppedRange | undefined>(
    (least, range) => (least && earlierOf(least.first, range.first) === least.first ? least : range),
    undefined,
  )
}

function firstDropped(inputs: readonly ReadInput[]): CanonicalPosition | null {
  return firstOf(inputs.flatMap(rangesOf))?.first ?? null
}

/** The input with the first of all dropped events. */
function inputOfFirst(inputs: readonly ReadInput[]): ReadInput | undefined {
  const least = firstOf(inputs.flatMap(({ dropped }) => dropped))
  return least && inputs.find(({ dropped }) => dropped.includes(least))
}
