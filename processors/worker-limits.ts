/** The limits of a worker and their defaults; used by the worker, and by configuration, tests and simulations that change some of them. */
import { logBytesMax } from '../feature-store/entity-log.ts'
import type { LoopLimits } from './batch/active-batch.ts'
import type { TaskLimits } from './batch/task.ts'

export interface WorkerLimits extends LoopLimits, TaskLimits {
  /** Rows of entity logs kept in memory by one task. */
  readonly cacheRowsMax: number
  /** Bytes of the facts of one entity; its events beyond are rejected. */
  readonly entityBytesMax: number
  readonly sessionTimeoutMs: number
  readonly transactionTimeoutMs: number
  /** After this long without progress the process gives up and leaves the restart to its supervisor. */
  readonly outageMaxMs: number
}

export const defaultWorkerLimits: WorkerLimits = {
  batchEventsMax: 4_000,
  pollMaxMs: 100,
  partitionBytesMax: 512 * 1_024,
  commitEveryMs: 10,
  positionEveryMs: 10_000,
  advancingEveryMs: 1_000,
  holdMaxMs: 30_000,
  heldMax: 100_000,
  readAheadMax: 8_000,
  cacheRowsMax: 2_000_000,
  entityBytesMax: logBytesMax,
  sessionTimeoutMs: 10_000,
  transactionTimeoutMs: 10_000,
  outageMaxMs: 300_000,
}
