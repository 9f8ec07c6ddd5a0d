/**
 * The feature store contract: entity logs and their position, written together or not at all. Two implementations,
 * `store.ts` (real) and `memory-store.ts`, pass the same suite (`test/conformance/feature-store.ts`).
 *
 * Each task (one partition of one entity) has an owner token, a position and an identity beside its entities' logs. Positions and
 * tokens are opaque text here, compared for equality only. Failures are `PipelineError`s: `redis_unreachable`, `redis_request_failed`,
 * `redis_eviction`, `state_foreign`; a rejection by the fence is `fenced` (another owner) or `state_lost` (not the position expected).
 */

import type { StateShape } from '../schemas/plan/plan.ts'
import type { StepWrites } from './step-writes.ts'

/** What the stored state belongs to. Any difference is rejected with `state_foreign`, in a message with both values. */
export interface StateIdentity {
  readonly clusterId: string
  readonly stateFingerprint: string
  readonly partitions: number
  /** Of stored state that lies otherwise than this version stores it (`storedLayout`). */
  readonly layout?: number
  /** Name of the key of the ids in facts; absent where the state was made by a version that had none. */
  readonly hashKey?: string
  /** What the fingerprint is of, to say what differs; absent where the state was made by a version that did not store it. */
  readonly shape?: StateShape
}

/** What is stored of one entity: its sealed chunks in order, then its tail (`stored-log.ts`). */
export type StoredLog = readonly Buffer[]

/** One numbered step of a task: from one position to the next. Writes to at most `storeKeysMax` logs. */
export interface Step {
  /** Position that the store must have; null for a store that holds nothing yet. */
  readonly from: string | null
  readonly to: string
  readonly writes: StepWrites
}

/** A script keeps the server busy for 4 to 23 ms at 2,000 keys, 6.5 in the median; more would be felt by readers (decision 51). */
export const storeKeysMax = 2_000

/** One task's part of the store, held by its owner. Calls are answered in the order in which they were made. */
export interface TaskStore {
  /** Position of the store; null when it is empty. Equality with this is checked by every load and apply. */
  readonly position: string | null
  /**
   * The logs of these entities, null where there is none, checked against token and position. Rejects with `state_lost` where a log is
   * not whole; the next claim then begins with nothing, so that the state is restored from Kafka.
   */
  load(keys: readonly string[]): Promise<Array<StoredLog | null>>
  /**
   * Applies one step, or rejects it whole; its writes are read before this returns. A tail that is shorter than the step expects has lost
   * facts: `state_lost`, and the next claim begins with nothing. One that is longer has facts twice (decision 35): the step is applied,
   * and `state_lost` makes the caller reload.
   */
  apply(step: Step): Promise<void>
}

export interface EntityRead {
  /** Position in force when the logs were read; null when the store holds nothing. */
  readonly position: string | null
  readonly logs: ReadonlyArray<StoredLog | null>
}

/** What a task's part of the store holds, without its logs. */
export interface TaskInspection {
  /** Token of the process that may write; null where the task was never claimed. */
  readonly owner: string | null
  readonly position: string | null
  /** What the state belongs to; 'clearing' where a rebuild has begun and not ended, or the state is damaged; null where the task was never claimed. */
  readonly identity: StateIdentity | 'clearing' | null
}

export interface ClaimOptions {
  /** Deletes all state of the task, of any identity, and starts empty, as `--rebuild` does. */
  readonly rebuild?: boolean
}

export interface FeatureStore {
  /** Writes the owner token, then reads position and identity: from then on every former owner is fenced. */
  claim(
    entity: string,
    partition: number,
    owner: string,
    identity: StateIdentity,
    options?: ClaimOptions,
  ): Promise<TaskStore>
  /** Logs of some entities of one partition as of their position. For queries; no ownership. */
  read(entity: string, partition: number, keys: readonly string[]): Promise<EntityRead>
  /** One atomic read without taking ownership: for checks before a start. */
  inspect(entity: string, partition: number): Promise<TaskInspection>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  close(): Promise<void>
}
