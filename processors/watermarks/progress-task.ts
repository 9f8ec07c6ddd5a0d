/** What progress reports are made from: the questions that the progress exchange asks of a task. The task of a stage answers them all. */
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { Frontier } from './frontier.ts'

/** A task of which progress is reported. */
export interface ReportingTask {
  readonly partition: number
  /** See `TaskPosition`. */
  readonly retentionWatermark: number
  readonly isRestoring: boolean
  /** The task sends nothing at or before this position any more, except late events. */
  watermark(): Frontier
  /** Nor anything at or before this one: what comes behind it is held back for other tasks of the process. */
  readonly heldBackAt: Frontier
  /** All that is to be had was read. */
  isAtEnd(): boolean
  /** Last fetch that found every input at its end. */
  endRound(): number
  /** Nothing at or before this position is held; null where nothing is. */
  idleUpTo(): Frontier | null
  /** When the task, or one that it waits for, last came nearer to its end, ms. */
  progressAtMs(nowMs: number): number
  /** From now on the task asks itself whether it has done everything that its inputs had at this fetch. */
  startCatchUp(round: number): void
  hasCaughtUp(): boolean
}

/** A task that writes to a repartition topic. */
export interface WritingTask extends ReportingTask {
  /** Event time that everything has been read up to; infinity at the end of all inputs. */
  readTime(): number
  /** Event time of the first event in order; infinity when none is held. */
  topTime(): number
  readonly frontier: Frontier
}

/** A task that reads a repartition topic, and maybe raw topics beside it. */
export interface RawReader {
  readonly stage: StagePlan
  readonly partition: number
  /** Raw inputs come first. */
  readonly inputs: ReadonlyArray<{ readonly nextOffset: number }>
  /** Where the first event in order lies, if that is a raw topic; null for one of a repartition topic, and when none is held. */
  topRaw(): { readonly input: number; readonly offset: number } | null
}

export interface ReadingTask extends RawReader {
  /** Events that wait, with those that were dropped and are read again. */
  readonly held: number
  topTime(): number
  /** See `ReportingTask`. */
  progressAtMs(nowMs: number): number
}
