/**
 * The feature store contract: entity logs and the position they stand for, written together or not at all. Two implementations,
 * `store.ts` (real) and `memory-store.ts`, pass the same suite (`test/conformance/feature-store.ts`).
 *
 * Each task (one partition of one entity) has an owner token, a position and an identity beside its entities' logs. Positions and
 * tokens are opaque text here, compared for equality only. Failures are `PipelineError`s: `redis_unreachable`, `redis_request_failed`,
 * `redis_eviction`, `state_foreign`; a refusal of the fence is `fenced` (another owner) or `state_lost` (not the position expected).
 */

/** What the stored state belongs to. Any difference is refused with `state_foreign`, in one sentence that names both values. */
export interface StateIdentity {
  readonly clusterId: string
  readonly stateFingerprint: string
  readonly partitions: number
}

export interface LogWrite {
  readonly key: string
  /** `append` adds the bytes to the end; `replace` rewrites the log; `remove` deletes it (bytes are ignored). */
  readonly kind: 'append' | 'replace' | 'remove'
  readonly bytes: Buffer
}

/** One numbered step of a task: from one position to the next. At most `storeKeysMax` writes, each key at most once. */
export interface Step {
  /** Position that the store must stand at; null for a store that holds nothing yet. */
  readonly from: string | null
  readonly to: string
  readonly writes: readonly LogWrite[]
}

/** A script blocks the server for about 1.2 ms at 500 keys; more would be felt by readers. */
export const storeKeysMax = 500

/** One task's part of the store, held by its owner. Calls are answered in the order in which they were made. */
export interface TaskStore {
  /** Where the store stands; null when it holds nothing. Equality with this is checked by every load and apply. */
  readonly position: string | null
  /** The logs of these entities, null where there is none, read together with token and position and checked against both. */
  load(keys: readonly string[]): Promise<Array<Buffer | null>>
  /** Applies one step, or refuses it whole. */
  apply(step: Step): Promise<void>
}

export interface EntityRead {
  /** Position in force when the logs were read; null when the store holds nothing. */
  readonly position: string | null
  readonly logs: ReadonlyArray<Buffer | null>
}

/** What a task's part of the store says of itself. */
export interface TaskInspection {
  /** Token of the process that may write; null where nobody ever claimed the task. */
  readonly owner: string | null
  readonly position: string | null
  /** What the state belongs to; 'clearing' where a rebuild has begun and not ended; null where nobody ever claimed the task. */
  readonly identity: StateIdentity | 'clearing' | null
}

export interface ClaimOptions {
  /** Deletes what there is, whatever it belongs to, and starts with nothing: the way of `--rebuild`. */
  readonly rebuild?: boolean
}

export interface FeatureStore {
  /** Writes the owner token, then reads position and identity: from here on every former owner is refused. */
  claim(
    entity: string,
    partition: number,
    owner: string,
    identity: StateIdentity,
    options?: ClaimOptions,
  ): Promise<TaskStore>
  /** Logs of some entities of one partition with the position they stand for, in one atomic read. For queries; no ownership. */
  read(entity: string, partition: number, keys: readonly string[]): Promise<EntityRead>
  /** One atomic read that takes nothing over: for those who look before a start. */
  inspect(entity: string, partition: number): Promise<TaskInspection>
  /** Resolves when the store answers. */
  ping(): Promise<void>
  close(): Promise<void>
}
