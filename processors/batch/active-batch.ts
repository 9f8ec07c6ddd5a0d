/** What the steps of the batch loop work on: the tasks of the process, and the batch of each on its way through the steps. */
import type { TaskStore } from '../../feature-store/store.ts'
import type { RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import type { EntityCache } from './entity-cache.ts'
import type { EventsByEntity } from './events-by-entity.ts'
import type { Fold } from './fold-event.ts'
import type { Overtaking } from './overtaken.ts'
import type { Task, TaskBatch } from './task-contract.ts'

export interface LoopLimits {
  /** Events of one task in one batch. */
  readonly batchEventsMax: number
  /** Longest wait of a fetch that finds nothing. */
  readonly pollMaxMs: number
  readonly partitionBytesMax: number
  /** Without a backlog, transactions begin at least this far apart, so that one carries many events. */
  readonly commitEveryMs: number
  /** See `TaskLimits`. */
  readonly heldMax: number
  /** A task that works through a backlog, or restores its state, tells the next stage so this often. */
  readonly advancingEveryMs: number
  /** A position that moved without an event is committed this often. */
  readonly positionEveryMs: number
}

/** A task with its part of the store. */
export interface OpenTask {
  readonly task: Task
  readonly store: TaskStore
  readonly cache: EntityCache
  /** Of the batch under way, until it is handed to step 7. */
  readonly byEntity: EventsByEntity
  readonly fold: Fold
  readonly overtaking: Overtaking
  /** Position of the last batch handed to step 7: the next step is applied on top of it. */
  position: string | null
  /** Greatest event time folded. */
  newestTime: number
  positionTakenMs: number
}

/** One task's batch: taken by `order.ts`, filled by the steps after it. */
export interface ActiveBatch {
  readonly open: OpenTask
  /** Its position has what the fold has counted. */
  batch: TaskBatch
  /** That it sends. */
  predictions: Predictions
  readonly rejections: RejectedRecord[]
  readonly overtaken: OvertakenByBatch
}

/** How many, and the version that scored them; null where there was none. */
export interface Predictions {
  readonly count: number
  readonly model: string | null
}

export const noPredictions: Predictions = { count: 0, model: null }

/** Predictions that were made before a late fact of this batch arrived; see `overtaken.ts`. */
export interface OvertakenByBatch {
  predictions: number
  /** Late facts that may have part in more of them. */
  uncounted: number
  /** The last of these facts. */
  last: { readonly stream: number; readonly time: number } | null
}

export const noneOvertaken = (): OvertakenByBatch => ({ predictions: 0, uncounted: 0, last: null })
