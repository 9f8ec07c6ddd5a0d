/**
 * Puts a task's inputs in canonical order: events go in as they were read, come out once every source has passed them. Pure: rounds and
 * the time of day are arguments. Called by the task; never waits.
 *
 * A source is whatever sends in event-time order of its own: one input partition of a raw topic, or one task of the stage before. A raw
 * source has passed an event when its clock is beyond it, or when a fetch that began after the event was read found the source at its
 * end: whatever was appended before the event was sent has then been seen. A task as a source says itself which place it has passed, and
 * that it has nothing to send: this counts for the events at or before the places that it had heard of when it last looked, never for
 * later ones (`source-frontiers.ts`).
 */
import assert from 'node:assert/strict'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import { initialFrontier } from '../position.ts'
import { createCanonicalHeap } from './canonical-heap.ts'

export interface Aligned extends CanonicalPosition {
  readonly source: number
  /** Fetch that brought the event; fetches are counted up. */
  readonly round: number
  readonly readAtMs: number
  /** Where the record lies: offsets of different inputs have nothing to do with each other. */
  readonly input: number
  readonly offset: number
}

export type AlignmentSource = { readonly input: number } & (
  | { readonly kind: 'raw'; readonly disorderMs: number }
  | { readonly kind: 'task' }
)

export interface AlignmentOptions {
  readonly sources: readonly AlignmentSource[]
  /** Under which number the tasks that are sources hear how far this task has read a raw input. */
  readonly rawSourceOf: (input: number) => number
}

/** What a task said of itself at this offset. */
export interface Reported {
  readonly offset: number
  readonly isIdle: boolean
  /** By source; empty where it is not idle. */
  readonly observed: readonly CanonicalPosition[]
  /** No further than this, whatever it has heard of. */
  readonly until: CanonicalPosition | null
}

/** Which events may go although a source has not passed them, and which may not go although all have. */
export interface ReleaseBounds {
  readonly nowMs: number
  /** Everything up to here goes. */
  readonly forced?: CanonicalPosition
  /** Nothing beyond goes. */
  readonly ceiling?: CanonicalPosition
}

export interface AlignmentCounts {
  /** Events that came after their place in canonical order had been passed. */
  late: number
  /** Events released although a source had not passed them. */
  releasedEarly: number
}

export interface Alignment<T extends Aligned> {
  readonly held: number
  /** Held events that are late: they may go, whatever the bounds. */
  readonly lateHeld: number
  readonly counts: Readonly<AlignmentCounts>
  /** Greatest place in canonical order that was released. */
  readonly frontier: CanonicalPosition
  push(event: T): void
  /** Its place in canonical order was passed before it came. */
  isLate(event: T): boolean
  /** Event time that the source has come to; minus infinity before it was heard of. */
  clockOf(source: number): number
  /** The source sends nothing at or before this place from here on, except late events; a raw one nothing earlier than its time. */
  advance(source: number, place: CanonicalPosition): void
  /** A fetch of this round found the input at its end, or not. */
  fetched(input: number, round: number, isAtEnd: boolean): void
  /** Nothing more is to be read of the input for now, so that nothing waits for its sources. */
  finish(input: number, isFinished: boolean): void
  /** The task as a source sent something, or said whether it had anything to send. What is read again changes nothing. */
  said(source: number, said: Reported): void
  /** Next event in canonical order, if it may go. */
  peek(bounds: ReleaseBounds): T | undefined
  /** First event in canonical order, whether it may go or not. */
  top(): T | undefined
  /** Takes the peeked event out. */
  release(bounds: ReleaseBounds): T
  /** The first event waits for something of this input. */
  awaits(input: number, nowMs: number): boolean
  /** The first event waits for no more than news that a raw source is at its end. */
  awaitsEnd(nowMs: number): boolean
  /** All inputs are at their end. */
  isAtEnd(): boolean
  /** Nothing at or before this place is held; null where nothing is. */
  reach(): CanonicalPosition | null
  /** Nothing at or before this place will be released any more, except late events. */
  watermark(): CanonicalPosition
  /** The task as a source sends nothing that was judged by an earlier event time than this, ms. */
  judged(source: number, horizon: number): void
  /**
   * Event time that some task as a source may still judge by; infinity where there is none. One that has nothing to send holds nothing
   * back beyond `idleFrom`.
   */
  slowestTask(idleFrom: number): number
  /** Last fetch that found every input at its end. */
  endRound(): number
}

interface SourceState {
  readonly kind: 'raw' | 'task'
  readonly input: number
  readonly disorderMs: number
  /** Greatest place that it has come to. */
  place: CanonicalPosition
  /** See `judged`. */
  horizon: number
  /** The latest of a task's words. */
  said: Reported
}

interface InputState {
  /** Last round that found the input at its end. */
  endRound: number
  isAtEnd: boolean
  isFinished: boolean
}

export function createAlignment<T extends Aligned>(options: AlignmentOptions, start: CanonicalPosition): Alignment<T> {
  const heap = createCanonicalHeap<T>()
  const counts: AlignmentCounts = { late: 0, releasedEarly: 0 }
  let passed = start
  /** Two events of one place are in order, although the second is at what the first has passed: it was put back twice. */
  const lateHeld = new Set<T>()
  const sources: SourceState[] = options.sources.map((source) => ({
    kind: source.kind,
    input: source.input,
    disorderMs: source.kind === 'raw' ? source.disorderMs : 0,
    place: initialFrontier,
    horizon: Number.NEGATIVE_INFINITY,
    said: { offset: -1, isIdle: false, observed: [], until: null },
  }))
  const firstTask = sources.findIndex(({ kind }) => kind === 'task')
  const inputs: InputState[] = Array.from({ length: 1 + Math.max(-1, ...sources.map(({ input }) => input)) }, () => ({
    endRound: -1,
    isAtEnd: false,
    isFinished: false,
  }))

  function push(event: T): void {
    if (isLate(event)) {
      counts.late++
      lateHeld.add(event)
    }
    heap.push(event)
  }

  function isLate(event: T): boolean {
    return compareCanonical(event, passed) <= 0
  }

  function advance(source: number, place: CanonicalPosition): void {
    const state = sources[source]!
    if (compareCanonical(place, state.place) > 0) state.place = { time: place.time, order: place.order }
  }

  function fetched(input: number, round: number, isAtEnd: boolean): void {
    const state = inputs[input]!
    state.isAtEnd = isAtEnd
    if (isAtEnd) state.endRound = Math.max(state.endRound, round)
  }

  function finish(input: number, isFinished: boolean): void {
    inputs[input]!.isFinished = isFinished
  }

  function said(source: number, said: Reported): void {
    const state = sources[source]!
    if (said.offset > state.said.offset) state.said = said
  }

  function peek({ nowMs, forced = initialFrontier, ceiling }: ReleaseBounds): T | undefined {
    const event = heap.top()
    if (!event || isLate(event)) return event
    if (ceiling && compareCanonical(event, ceiling) > 0) return undefined
    return compareCanonical(event, forced) <= 0 || isDue(event, nowMs) ? event : undefined
  }

  function release({ nowMs }: ReleaseBounds): T {
    const event = heap.pop()
    assert(event, 'an event was peeked before')
    if (!isDue(event, nowMs)) counts.releasedEarly++
    // Events leave in order, so that only one that came late is at or before what has been passed.
    lateHeld.delete(event)
    if (!isLate(event)) passed = { time: event.time, order: event.order }
    return event
  }

  function isDue(event: T, nowMs: number): boolean {
    if (isLate(event)) return true
    for (let i = 0; i < sources.length; i++) if (!hasPassed(i, event, nowMs)) return false
    return true
  }

  function hasPassed(index: number, event: T, nowMs: number): boolean {
    const source = sources[index]!
    const input = inputs[source.input]!
    if (input.isFinished) return true
    if (source.kind === 'task') return hasTaskPassed(source, event)
    const isEndKnown = input.endRound > event.round
    if (index === event.source) {
      if (source.place.time - source.disorderMs >= event.time) return true
      // At the end of a partition nobody moves the clock: the declared disorder is waited out in time of day.
      return isEndKnown && nowMs - event.readAtMs >= source.disorderMs
    }
    return source.place.time - source.disorderMs > event.time || isEndKnown
  }

  /** A task sends in canonical order, so that an event itself says that its source has come so far. */
  function hasTaskPassed({ input, place, said }: SourceState, event: T): boolean {
    if (compareCanonical(event, place) <= 0) return true
    if (!said.isIdle || (said.until !== null && compareCanonical(event, said.until) > 0)) return false
    const fromTask = input === event.input
    const observed = said.observed[fromTask ? event.source - firstTask : options.rawSourceOf(event.input)]
    if (observed === undefined) return false
    return fromTask ? compareCanonical(event, observed) <= 0 : event.offset < observed.time
  }

  function awaits(input: number, nowMs: number): boolean {
    const event = heap.top()
    if (event === undefined) return true
    return sources.some((source, i) => source.input === input && !hasPassed(i, event, nowMs))
  }

  function awaitsEnd(nowMs: number): boolean {
    const event = heap.top()
    if (event === undefined || isDue(event, nowMs)) return false
    return sources.every((source, i) => hasPassed(i, event, nowMs) || isAtOldEnd(source, event))
  }

  /** At its end as far as is known, but by no fetch that began after the event was read. */
  function isAtOldEnd(source: SourceState, event: T): boolean {
    const { isAtEnd, endRound } = inputs[source.input]!
    return source.kind === 'raw' && isAtEnd && endRound <= event.round
  }

  function reach(): CanonicalPosition | null {
    const top = heap.top()
    return top ? { time: top.time, order: top.order - 1 } : null
  }

  function watermark(): CanonicalPosition {
    // What a raw partition at its end brings next is not known to be later than what the others brought.
    if (sources.some(({ kind }) => kind === 'raw')) return passed
    let least = reach()
    for (const { place } of sources) if (least === null || compareCanonical(place, least) < 0) least = place
    return least !== null && compareCanonical(least, passed) > 0 ? least : passed
  }

  function judged(source: number, horizon: number): void {
    const state = sources[source]!
    state.horizon = Math.max(state.horizon, horizon)
  }

  function slowestTask(idleFrom: number): number {
    let slowest = Number.POSITIVE_INFINITY
    for (const { kind, horizon, said } of sources) {
      if (kind !== 'task') continue
      slowest = Math.min(slowest, said.isIdle ? Math.max(horizon, idleFrom) : horizon)
    }
    return slowest
  }

  return {
    get held() {
      return heap.size
    },
    get lateHeld() {
      return lateHeld.size
    },
    counts,
    get frontier() {
      return passed
    },
    push,
    isLate,
    clockOf: (source) => sources[source]!.place.time,
    advance,
    fetched,
    finish,
    said,
    peek,
    top: heap.top,
    release,
    awaits,
    awaitsEnd,
    isAtEnd: () => inputs.every(({ isAtEnd }) => isAtEnd),
    reach,
    watermark,
    judged,
    slowestTask,
    endRound: () => Math.min(...inputs.map(({ endRound }) => endRound)),
  }
}
