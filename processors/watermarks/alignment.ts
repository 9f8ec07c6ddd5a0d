/**
 * Puts the events of a task's inputs in canonical order: events go in as they were read and come out once no source can send an earlier
 * one. Synchronous and without a clock: fetch numbers and the time of day are arguments. Called by the task.
 *
 * A source sends in event-time order of its own: it is one input partition of a raw topic, or one task of the stage before. A raw source
 * has passed an event when its greatest event time, less the declared disorder, is beyond it, or when everything was read that the
 * partition had at a fetch which began after the event was read: that is everything that was appended before the event was sent. A task
 * has passed an event when its frontier is at or beyond it, or when a report of it covers the event (`frontier.ts`).
 *
 * An event waits for a source as long as the source comes nearer to that, however long it takes. A source that makes no progress is waited
 * for up to a bound; what goes then is counted as released early (decision 37).
 */
import assert from 'node:assert/strict'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import {
  type Aligned,
  type AlignmentCounts,
  type AlignmentOptions,
  type AlignmentState,
  createAlignmentState,
  type EarlyRelease,
  type FetchedEnd,
  type TaskReport,
} from './alignment-state.ts'
import { copyOf, earlierOf, type Frontier, initialFrontier, isCovered, laterOf } from './frontier.ts'
import { blockingProgressMs, firstBlocking, isStalled, isWaitingFor, isWaitingForEnd } from './source-progress.ts'

export type { Aligned, AlignmentCounts, AlignmentSource, EarlyRelease, TaskReport } from './alignment-state.ts'

/** Which events are released although a source could send earlier ones, and which are not although none could. */
export interface ReleaseBounds {
  readonly nowMs: number
  /** A source that makes no progress for longer is not waited for; infinity where nothing may be released early. */
  readonly stallMaxMs?: number
  /** Everything at or before it is released. */
  readonly forced?: Frontier
  /** Nothing beyond it is released. */
  readonly ceiling?: Frontier
}

export interface Alignment<T extends Aligned> {
  readonly held: number
  /** Held events that are late: they are released regardless of the bounds. */
  readonly lateHeld: number
  readonly counts: Readonly<AlignmentCounts>
  /** Greatest position that was released. */
  readonly frontier: Frontier
  push(event: T): void
  /** The event is at or before the frontier. */
  isLate(event: T): boolean
  /** Greatest event time of the source; −infinity before anything was read from it. */
  maxEventTimeOf(source: number): number
  /** The source sends nothing at or before this position any more, except late events; a raw source nothing earlier than its time. */
  advance(source: number, frontier: Frontier, nowMs: number): void
  observeFetch(input: number, fetched: FetchedEnd, nowMs: number): void
  /** Nothing more is read from the input for now, so no event waits for its sources. */
  setFinished(input: number, isFinished: boolean): void
  /** A task as a source sent an event or reported progress. Reports that are read again change nothing. */
  observeReport(source: number, report: TaskReport, nowMs: number): void
  /** What was read before is waited for from now on. */
  startWaiting(nowMs: number): void
  /** When a source that the first event waits for last made progress, ms; −infinity where it waits for none. */
  blockingProgressMs(nowMs: number): number
  /** The event that was released early last; null where none was. */
  readonly lastEarly: EarlyRelease | null
  /** Removes and returns the last events in order, so that this many are left, and all late ones. */
  drop(keep: number): T[]
  /** Nothing at or beyond the first dropped event is released until it was read again; null: all of them were. */
  setBarrier(barrier: Frontier | null): void
  /** The first event waits for dropped ones to be read again, or there are only dropped ones. */
  isBehindBarrier(): boolean
  /** First event in canonical order, if it may be released. */
  peek(bounds: ReleaseBounds): T | undefined
  /** First event in canonical order, whether it may be released or not. */
  top(): T | undefined
  /** Removes the event that was peeked with these bounds. */
  release(bounds: ReleaseBounds): T
  /** The first event waits for a source of this input, or there is none to wait. */
  isWaitingFor(input: number, nowMs: number): boolean
  /** The first event waits only for a fetch that confirms that raw sources are still at their end. */
  isWaitingForEnd(nowMs: number): boolean
  /** All inputs are at their end. */
  isAtEnd(): boolean
  /** Nothing at or before this position is held; null where nothing is held. */
  idleUpTo(): Frontier | null
  /** Nothing at or before this position will be released any more, except late events. */
  watermark(): Frontier
  /** The first event could be released, and is held back all the same. */
  holdBack(event: T): void
  /** Nothing at or before it either: just before the event that was held back last. */
  readonly heldBackAt: Frontier
  /** A task as a source has reported its retention watermark, ms. */
  observeRetentionWatermark(source: number, retentionWatermark: number): void
  /**
   * Least retention watermark of the tasks that are sources; infinity where there are none. An idle task holds nothing back beyond
   * `idleFrom`.
   */
  minRetentionWatermark(idleFrom: number): number
  /** Last fetch whose end was reached by every input. */
  endRound(): number
}

export function createAlignment<T extends Aligned>(options: AlignmentOptions, start: Frontier): Alignment<T> {
  const state = createAlignmentState<T>(options, start)
  const { heap, lateHeld, inputs, sources, counts } = state
  return {
    get held() {
      return heap.size
    },
    get lateHeld() {
      return lateHeld.size
    },
    counts,
    get frontier() {
      return copyOf(state.frontier)
    },
    push: (event) => push(state, event),
    isLate: (event) => isCovered(event, state.frontier),
    maxEventTimeOf: (source) => sources[source]!.frontier.time,
    advance: (source, frontier, nowMs) => advance(state, source, frontier, nowMs),
    observeFetch: (input, fetched, nowMs) => observeFetch(state, input, fetched, nowMs),
    setFinished(input, isFinished) {
      inputs[input]!.isFinished = isFinished
    },
    observeReport: (source, report, nowMs) => observeReport(state, source, report, nowMs),
    startWaiting(nowMs) {
      state.waitsSinceMs = nowMs
    },
    blockingProgressMs(nowMs) {
      const event = heap.top()
      return event ? blockingProgressMs(state, event, nowMs) : Number.NEGATIVE_INFINITY
    },
    get lastEarly() {
      return state.lastEarly
    },
    drop: (keep) => heap.keepSmallest(Math.max(keep, lateHeld.size)),
    setBarrier(barrier) {
      state.barrier = barrier
    },
    isBehindBarrier: () => isBehindBarrier(state, heap.top()),
    peek: (bounds) => peek(state, bounds),
    top: heap.top,
    release: (bounds) => release(state, bounds),
    isWaitingFor(input, nowMs) {
      const event = heap.top()
      return event === undefined || isWaitingFor(state, event, input, nowMs)
    },
    isWaitingForEnd(nowMs) {
      const event = heap.top()
      return event !== undefined && isWaitingForEnd(state, event, nowMs)
    },
    isAtEnd: () => inputs.every(({ isAtEnd }) => isAtEnd),
    idleUpTo: () => justBeforeHeld(state),
    watermark: () => watermark(state),
    holdBack(event) {
      state.heldBackAt = { time: event.time, order: event.order - 1 }
    },
    get heldBackAt() {
      return state.heldBackAt
    },
    observeRetentionWatermark(source, retentionWatermark) {
      const known = sources[source]!
      known.retentionWatermark = Math.max(known.retentionWatermark, retentionWatermark)
    },
    minRetentionWatermark: (idleFrom) => minRetentionWatermark(state, idleFrom),
    endRound: () => Math.min(...inputs.map(({ endRound }) => endRound)),
  }
}

function push<T extends Aligned>({ heap, lateHeld, counts, frontier }: AlignmentState<T>, event: T): void {
  if (isCovered(event, frontier)) {
    counts.late++
    lateHeld.add(event)
  }
  heap.push(event)
}

function advance<T extends Aligned>(
  { sources }: AlignmentState<T>,
  source: number,
  frontier: Frontier,
  nowMs: number,
): void {
  const state = sources[source]!
  if (compareCanonical(frontier, state.frontier) <= 0) return
  state.frontier = copyOf(frontier)
  state.progressAtMs = nowMs
}

/** Sources only go forward, so what was passed once stays passed. */
function passedTime<T extends Aligned>({ sources }: AlignmentState<T>): number {
  let passed = Number.POSITIVE_INFINITY
  for (let i = 0; i < sources.length; i++) {
    const { frontier, disorderMs } = sources[i]!
    passed = Math.min(passed, frontier.time - disorderMs)
  }
  return passed
}

function observeFetch<T extends Aligned>(
  { inputs, sources }: AlignmentState<T>,
  input: number,
  { round, nextOffset, end }: FetchedEnd,
  nowMs: number,
): void {
  const state = inputs[input]!
  state.isAtEnd = nextOffset >= end
  if (nextOffset > state.nextOffset) {
    for (const source of sources) if (source.kind === 'raw' && source.input === input) source.progressAtMs = nowMs
  }
  state.nextOffset = nextOffset
  if (state.isAtEnd) {
    state.endRound = Math.max(state.endRound, round)
    state.ahead = null
    return
  }
  if (state.ahead && nextOffset >= state.ahead.end) {
    state.endRound = Math.max(state.endRound, state.ahead.round)
    state.ahead = null
  }
  state.ahead ??= { round, end }
}

function observeReport<T extends Aligned>(
  { sources }: AlignmentState<T>,
  source: number,
  report: TaskReport,
  nowMs: number,
): void {
  const state = sources[source]!
  if (report.offset <= state.report.offset) return
  state.report = report
  if (report.isCaughtUp) state.covered = report.observed
  if (report.isCaughtUp || report.isAdvancing) state.progressAtMs = nowMs
}

function isBehindBarrier<T extends Aligned>({ barrier }: AlignmentState<T>, top: T | undefined): boolean {
  return barrier !== null && (top === undefined || compareCanonical(top, barrier) >= 0)
}

function peek<T extends Aligned>(state: AlignmentState<T>, bounds: ReleaseBounds): T | undefined {
  const { nowMs, stallMaxMs = Number.POSITIVE_INFINITY, forced = initialFrontier, ceiling } = bounds
  const event = state.heap.top()
  state.due = null
  if (!event || isCovered(event, state.frontier)) return event
  if (isBehindBarrier(state, event) || (ceiling && !isCovered(event, ceiling))) return undefined
  if (event.time >= state.passedTime) state.passedTime = passedTime(state)
  if (event.time < state.passedTime || firstBlocking(state, event, nowMs) < 0) {
    state.due = event
    return event
  }
  if (isCovered(event, forced)) return event
  return isStalled(state, event, nowMs, stallMaxMs) ? event : undefined
}

function release<T extends Aligned>(state: AlignmentState<T>, { nowMs }: ReleaseBounds): T {
  const event = state.heap.pop()
  assert(event, 'an event was peeked before')
  if (state.lateHeld.size > 0) state.lateHeld.delete(event)
  // Events are released in order, so only a late one is at or before the frontier.
  if (isCovered(event, state.frontier)) return event
  const source = event === state.due ? -1 : firstBlocking(state, event, nowMs)
  if (source >= 0) {
    state.counts.releasedEarly++
    state.lastEarly = { time: event.time, source, input: state.sources[source]!.input }
  }
  state.frontier.time = event.time
  state.frontier.order = event.order
  return event
}

/** Just before the first event that is held, or was dropped and is read again. */
function justBeforeHeld<T extends Aligned>({ heap, barrier }: AlignmentState<T>): Frontier | null {
  const top = heap.top()
  const first = top && barrier ? earlierOf(top, barrier) : (top ?? barrier)
  return first ? { time: first.time, order: first.order - 1 } : null
}

function watermark<T extends Aligned>(state: AlignmentState<T>): Frontier {
  const { sources, frontier } = state
  // The next record of a raw partition that is at its end may be earlier than what the other sources have sent.
  if (sources.some(({ kind }) => kind === 'raw')) return copyOf(frontier)
  let least = justBeforeHeld(state)
  for (const source of sources) least = least === null ? source.frontier : earlierOf(least, source.frontier)
  return copyOf(least === null ? frontier : laterOf(frontier, least))
}

function minRetentionWatermark<T extends Aligned>({ sources }: AlignmentState<T>, idleFrom: number): number {
  let least = Number.POSITIVE_INFINITY
  for (const { kind, retentionWatermark, report } of sources) {
    if (kind !== 'task') continue
    least = Math.min(least, report.isIdle ? Math.max(retentionWatermark, idleFrom) : retentionWatermark)
  }
  return least
}
