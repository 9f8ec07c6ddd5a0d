/** What a task is given when it is opened, and what the batch loop asks of it; the task itself is made in `task.ts`. */
import type { FetchedPartition, FetchFrom } from '../../runtime/broker.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import type { StagePosition } from '../../schemas/wire/records.ts'
import type { Disorder, TaskPosition } from '../position.ts'
import type { AlignmentCounts, EarlyRelease } from '../watermarks/alignment.ts'
import type { ReadingTask, WritingTask } from '../watermarks/progress-task.ts'
import type { SourceFrontiers } from '../watermarks/source-frontiers.ts'
import type { StageEvent } from './stage-event.ts'

export interface TaskLimits {
  /**
   * An event waits this long beyond the declared disorder for sources that make no progress, summed over the stages; infinity for a replay,
   * which must not guess.
   */
  readonly holdMaxMs: number
  /** More events than this are not held: the last in order are dropped and read again. The stage before waits from half of it on. */
  readonly heldMax: number
  /** An input with this many events read ahead is not fetched, unless they wait for more. */
  readonly readAheadMax: number
}

export interface TaskOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly partition: number
  /** Partition count of the stage's inputs. */
  readonly partitions: number
  /** Tasks of the stage before: each is a source of the repartition topic. */
  readonly tasksBefore: number
  /** When the task is opened, ms. */
  readonly openedAtMs: number
  /** What this process hears on the repartition topic; null for the first stage. */
  readonly sourceFrontiers: SourceFrontiers | null
  readonly limits: TaskLimits
  /** Where the store stands. */
  readonly start: TaskPosition
  /** Where Kafka's committed offsets stand: what lies between is folded again without publishing. Null: the same place. */
  readonly restoreTo: TaskPosition | null
}

export interface TaskBatch {
  readonly events: readonly StageEvent[]
  readonly rejections: readonly RejectedRecord[]
  /** Where the task stands once this batch is done. */
  readonly position: TaskPosition
  /** For the predictions: the inputs that the batch's values can be folded again from. */
  readonly stagePosition: StagePosition
  /** Folded without publishing: its outputs are in Kafka already. */
  readonly isRestore: boolean
}

export interface TakeBounds {
  readonly eventsMax: number
  /** Adds the next event to the batch, unless a step has no room for its entity. */
  readonly admits: (event: StageEvent) => boolean
  /** Nothing of a later event time goes. */
  readonly maxReleaseTime: number
  /** Nothing that this fetch or a later one brought goes, unless it came late. */
  readonly beforeRound: number
}

export interface TaskInput {
  readonly topic: string
  readonly nextOffset: number
  /** Records between `nextOffset` and the end of the partition, when last fetched. */
  readonly lag: number
  readonly isAtEnd: boolean
  /** Greatest event time read, ms; −infinity before the first event. */
  readonly maxEventTime: number
}

/** Beside what the batch loop asks, it answers what the progress exchange asks of a task that writes or reads a repartition topic. */
export interface Task extends WritingTask, ReadingTask {
  readonly inputs: readonly TaskInput[]
  readonly counts: Readonly<AlignmentCounts>
  /** Of the held events: those that were dropped since too many were held, and are to be read again. */
  readonly dropped: number
  readonly lastEarly: EarlyRelease | null
  /** It has read records within the time that a source without progress is waited for. */
  isReading(nowMs: number): boolean
  /** What to fetch next; nothing of inputs that are far enough ahead, unless what was read waits for more. */
  wanted(nowMs: number): FetchFrom[]
  accept(fetched: FetchedPartition, round: number, nowMs: number): void
  /**
   * Up to `eventsMax` events as long as they are admitted, and all late ones, of which there are never more than a step has entities.
   * Null when nothing may go and nothing was refused.
   */
  take(nowMs: number, bounds: TakeBounds): TaskBatch | null
  /** Predictions that its last batch has found to be overtaken: later positions count them. */
  noteOvertaken(counts: Pick<Disorder, 'overtaken' | 'uncounted'>): void
  /** The position moved without a batch since the last call: markers were read. */
  takePosition(): TaskBatch | null
  isWaitingForEnd(nowMs: number): boolean
  /** Fetch that brought the first event in order; −1 when none is held. */
  topRound(): number
}
