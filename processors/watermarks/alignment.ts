/**
 * Puts the events of a task's inputs in canonical order: events go in as they were read and come out once no source can send an earlier
 * one. Synchronous and without a clock: fetch numbers and the time of day are arguments. Called by the task.
 *
 * A source sends in event-time order of its own: it is one input partition of a raw topic, or one task of the stage before. A raw source
 * has passed an event when its greatest event time, less the declared disorder, is beyond it, or when a fetch that began after the event
 * was read found the partition at its end: that fetch has seen everything that was appended before the event was sent. A task has passed
 * an event when its frontier is at or beyond it, or when its latest report is an idle report that covers it (`frontier.ts`).
 */
import assert from 'node:assert/strict'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import {
  type Aligned,
  type AlignmentCounts,
  type AlignmentOptions,
  type AlignmentState,
  createAlignmentState,
  type TaskReport,
} from './alignment-state.ts'
import { earlierOf, type Frontier, initialFrontier, isCovered, laterOf } from './frontier.ts'
import { isDue, isWaitingFor, isWaitingForEnd } from './source-progress.ts'

export type { Aligned, AlignmentCounts, AlignmentSource, TaskReport } from './alignment-state.ts'

/** Which events are released although a source could send earlier ones, and which are not although none could. */
export interface ReleaseBounds {
  readonly nowMs: number
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
  advance(source: number, frontier: Frontier): void
  /** Whether the fetch of this round found the input at its end. */
  observeFetch(input: number, round: number, isAtEnd: boolean): void
  /** Nothing more is read from the input for now, so no event waits for its sources. */
  setFinished(input: number, isFinished: boolean): void
  /** A task as a source sent an event or reported progress. Reports that are read again change nothing. */
  observeReport(source: number, report: TaskReport): void
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
  /** A task as a source has reported its retention watermark, ms. */
  observeRetentionWatermark(source: number, retentionWatermark: number): void
  /**
   * Least retention watermark of the tasks that are sources; infinity where there are none. An idle task holds nothing back beyond
   * `idleFrom`.
   */
  minRetentionWatermark(idleFrom: number): number
  /** Last fetch that found every input at its end. */
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
      return state.frontier
    },
    push: (event) => push(state, event),
    isLate: (event) => isCovered(event, state.frontier),
    maxEventTimeOf: (source) => sources[source]!.frontier.time,
    advance: (source, frontier) => advance(state, source, frontier),
    observeFetch: (input, round, isAtEnd) => observeFetch(state, input, round, isAtEnd),
    setFinished(input, isFinished) {
      inputs[input]!.isFinished = isFinished
    },
    observeReport: (source, report) => observeReport(state, source, report),
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

function advance<T extends Aligned>({ sources }: AlignmentState<T>, source: number, frontier: Frontier): void {
  const state = sources[source]!
  // Copied: an event that moves the frontier would be kept in memory by it.
  if (compareCanonical(frontier, state.frontier) > 0) state.frontier = { time: frontier.time, order: frontier.order }
}

function observeFetch<T extends Aligned>(
  { inputs }: AlignmentState<T>,
  input: number,
  round: number,
  isAtEnd: boolean,
): void {
  const state = inputs[input]!
  state.isAtEnd = isAtEnd
  if (isAtEnd) state.endRound = Math.max(state.endRound, round)
}

function observeReport<T extends Aligned>({ sources }: AlignmentState<T>, source: number, report: TaskReport): void {
  const state = sources[source]!
  if (report.offset > state.report.offset) state.report = report
}

function peek<T extends Aligned>(
  state: AlignmentState<T>,
  { nowMs, forced = initialFrontier, ceiling }: ReleaseBounds,
): T | undefined {
  const event = state.heap.top()
  if (!event || isCovered(event, state.frontier)) return event
  if (ceiling && !isCovered(event, ceiling)) return undefined
  return isCovered(event, forced) || isDue(state, event, nowMs) ? event : undefined
}

function release<T extends Aligned>(state: AlignmentState<T>, { nowMs }: ReleaseBounds): T {
  const event = state.heap.pop()
  assert(event, 'an event was peeked before')
  if (!isDue(state, event, nowMs)) state.counts.releasedEarly++
  state.lateHeld.delete(event)
  // Events are released in order, so only a late one is at or before the frontier.
  if (!isCovered(event, state.frontier)) state.frontier = { time: event.time, order: event.order }
  return event
}

function justBeforeHeld<T extends Aligned>({ heap }: AlignmentState<T>): Frontier | null {
  const top = heap.top()
  return top ? { time: top.time, order: top.order - 1 } : null
}

function watermark<T extends Aligned>(state: AlignmentState<T>): Frontier {
  const { sources, frontier } = state
  // The next record of a raw partition that is at its end may be earlier than what the other sources have sent.
  if (sources.some(({ kind }) => kind === 'raw')) return frontier
  let least = justBeforeHeld(state)
  for (const source of sources) least = least === null ? source.frontier : earlierOf(least, source.frontier)
  return least === null ? frontier : laterOf(frontier, least)
}

function minRetentionWatermark<T extends Aligned>({ sources }: AlignmentState<T>, idleFrom: number): number {
  let least = Number.POSITIVE_INFINITY
  for (const { kind, retentionWatermark, report } of sources) {
    if (kind !== 'task') continue
    least = Math.min(least, report.isIdle ? Math.max(retentionWatermark, idleFrom) : retentionWatermark)
  }
  return least
}
