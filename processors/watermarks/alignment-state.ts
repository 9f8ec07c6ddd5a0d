/**
 * What an alignment knows: the events that it holds, how far each source has come, and which inputs are at their end. Made and changed by
 * `alignment.ts`, read by `source-progress.ts`.
 */
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { type CanonicalQueue, createCanonicalQueue } from './canonical-queue.ts'
import { copyOf, type Frontier, initialFrontier } from './frontier.ts'

/** An event that can be aligned. */
export interface Aligned extends CanonicalPosition {
  readonly source: number
  /** Fetch that brought the event; fetches are numbered in ascending order. */
  readonly round: number
  readonly readAtMs: number
  /** Location of the record. Offsets are comparable within one input only. */
  readonly input: number
  readonly offset: number
}

export type AlignmentSource = { readonly input: number } & (
  | { readonly kind: 'raw'; readonly disorderMs: number }
  | { readonly kind: 'task' }
)

export interface AlignmentOptions {
  readonly sources: readonly AlignmentSource[]
  /** Source number under which this task reports to the stage before how far it has read a raw input. */
  readonly rawSourceOf: (input: number) => number
}

/** The progress that the record at this offset reports of the task that sent it. */
export interface TaskReport {
  readonly offset: number
  readonly isIdle: boolean
  /** Everything that was in Kafka when the task had observed `observed` was read and sent: what is covered stays so. */
  readonly isCaughtUp: boolean
  /** The task has come nearer to what it is waited for since its last report, or what it waits for itself has. */
  readonly isAdvancing: boolean
  /** Frontiers that the report covers, by source; empty where the task is neither idle nor caught up. */
  readonly observed: readonly Frontier[]
  /** Upper limit of an idle report: the task holds an event beyond it. Null where it holds none. */
  readonly idleUpTo: Frontier | null
}

export interface AlignmentCounts {
  /** Events that arrived at or before the frontier. */
  late: number
  /** Events released although a source could still have sent an earlier one. */
  releasedEarly: number
}

/** An event that was released early, and the first of the sources that had not passed it. */
export interface EarlyRelease {
  readonly time: number
  readonly source: number
  readonly input: number
}

/** What one fetch of an input found. */
export interface FetchedEnd {
  readonly round: number
  /** Where reading stands after it. */
  readonly nextOffset: number
  /** End of the partition when it was answered. */
  readonly end: number
}

export interface SourceState {
  readonly kind: 'raw' | 'task'
  readonly input: number
  readonly disorderMs: number
  frontier: Frontier
  /** Of a task: the greatest retention watermark that it has reported. */
  retentionWatermark: number
  /** Of a task: its latest report. */
  report: TaskReport
  /** Of a task: what its latest caught-up report covers, by source. */
  covered: readonly Frontier[]
  /** When it last came nearer to what it is waited for, ms. */
  progressAtMs: number
}

export interface InputState {
  /** Last fetch whose end was reached: everything was read that the partition had when this fetch was answered. */
  endRound: number
  /** A later fetch and its end, which was not reached yet. Null at the end of the input. */
  ahead: { readonly round: number; readonly end: number } | null
  nextOffset: number
  isAtEnd: boolean
  isFinished: boolean
}

export interface AlignmentState<T extends Aligned> {
  readonly heap: CanonicalQueue<T>
  /**
   * Late events in the heap. Kept by identity: of two events at the same position, the one that arrived after the release of the first is
   * late, as when an event is requeued twice.
   */
  readonly lateHeld: Set<T>
  readonly counts: AlignmentCounts
  readonly sources: readonly SourceState[]
  readonly inputs: readonly InputState[]
  /** Index of the first source that is a task; −1 where there is none. */
  readonly firstTask: number
  readonly rawSourceOf: (input: number) => number
  /** Greatest position that was released. It moves with each event, so it is changed in place and given out as a copy. */
  readonly frontier: { time: number; order: number }
  /** Just before the event that was held back last, although every source had passed it. */
  heldBackAt: Frontier
  /** Nothing at or beyond it is released: events from there on were dropped and are read again. Null where none are. */
  barrier: Frontier | null
  /** Events that were read before it are waited for from then on, ms. */
  waitsSinceMs: number
  lastEarly: EarlyRelease | null
  /** The event that was peeked last, where no source can send an earlier one. */
  due: T | null
  /** Every source is beyond this time, whatever else is known of it: what is earlier is due without asking each. */
  passedTime: number
}

export function createAlignmentState<T extends Aligned>(
  { sources, rawSourceOf }: AlignmentOptions,
  start: Frontier,
): AlignmentState<T> {
  const inputCount = 1 + Math.max(-1, ...sources.map(({ input }) => input))
  return {
    heap: createCanonicalQueue<T>(),
    lateHeld: new Set(),
    counts: { late: 0, releasedEarly: 0 },
    sources: sources.map((source) => ({
      kind: source.kind,
      input: source.input,
      disorderMs: source.kind === 'raw' ? source.disorderMs : 0,
      frontier: initialFrontier,
      retentionWatermark: Number.NEGATIVE_INFINITY,
      report: { offset: -1, isIdle: false, isCaughtUp: false, isAdvancing: false, observed: [], idleUpTo: null },
      covered: [],
      progressAtMs: Number.NEGATIVE_INFINITY,
    })),
    inputs: Array.from({ length: inputCount }, () => ({
      endRound: -1,
      ahead: null,
      nextOffset: -1,
      isAtEnd: false,
      isFinished: false,
    })),
    firstTask: sources.findIndex(({ kind }) => kind === 'task'),
    rawSourceOf,
    frontier: copyOf(start),
    heldBackAt: start,
    barrier: null,
    waitsSinceMs: Number.NEGATIVE_INFINITY,
    lastEarly: null,
    due: null,
    passedTime: Number.NEGATIVE_INFINITY,
  }
}
