/**
 * The plan: everything derived from one definition, computed once by `compile` and only read afterwards. Every room works from it;
 * none spells a field, topic or key of its own.
 */
import type { EventCodec, RecordCodec } from './codec.ts'
import type { EventValues, Problem } from './event.ts'
import type { LearnPlan, ModelPlan, ModelWeights } from './model-plan.ts'
import type { WriterSchemas } from './writer-schemas.ts'

export type { EventValues, FieldValue, Problem, RejectCode } from './event.ts'
export type * from './model-plan.ts'

/** Position in canonical order: facts and events are ordered by (time, stream, source partition, source offset). */
export interface CanonicalPosition {
  /** Event time by the stream's own time field, in ms since 1970. */
  readonly time: number
  /** Stream, source partition and source offset in one number (see `canonical-order.ts`). */
  readonly order: number
}

export type FieldKind = 'text' | 'number' | 'integer' | 'timestamp' | 'flag'

export interface FieldPlan {
  readonly name: string
  readonly kind: FieldKind
  readonly optional: boolean
  readonly min?: number
  readonly max?: number
  /** number only: at most this many decimals; sums of it are exact integers of 10^-decimals. */
  readonly decimals?: number
  /** text only: longest value, in UTF-16 units. */
  readonly lengthMax?: number
}

export interface StreamPlan {
  readonly name: string
  /** Place in canonical order: the scored stream is 0. */
  readonly index: number
  readonly topic: string
  readonly idField: string
  readonly keyField: string
  readonly timeField: string
  readonly fields: readonly FieldPlan[]
  /** Events may come this much out of order within their input partition and are still put into order before they are folded. */
  readonly disorderMs: number
  /** Events later than this, against earlier offsets of their input partition, are rejected. */
  readonly latenessMs: number
  /** Events dated further than this ahead of their append time are rejected. */
  readonly aheadMs: number
  /** Events may lie in any partition of the raw topic: a stage of their own carries them to where their key belongs. */
  readonly rekey: boolean
  /** Raw topic: JSON or Avro in, Avro out. */
  readonly codec: EventCodec
  /** Index of the stage whose tasks consume the raw topic; null for a label stream that no feature is computed from. */
  readonly entersAt: number | null
}

export type AggregateKind = 'count' | 'sum' | 'mean' | 'min' | 'max'

/** A number computed from one entity's log. The same aggregate written twice is one slot. */
export interface AggregateSlot {
  /** Place in the slots vector, over all stages. */
  readonly index: number
  /** Unique and stable, such as `count_transactions_1d_lag_7d`: its name on the repartition topic. */
  readonly name: string
  readonly stage: number
  readonly kind: AggregateKind
  /** Stream whose facts are aggregated. */
  readonly stream: number
  /** Column of the fact layout that holds the value; null for count. */
  readonly column: number | null
  /** Values in the column are integers of 10^-decimals where declared, plain doubles otherwise (null). */
  readonly decimals: number | null
  readonly overMs: number
  readonly lagMs: number
}

/**
 * The row of numbers that a fact leaves in its entity's log. Columns: 0 time (ms, the time it counts at), 1 order (canonical order
 * number), 2 id (53-bit hash of the event id), then `known` (ms, where some stream counts at another time than its own), then values.
 * NaN is a missing value.
 */
export interface FactLayout {
  readonly width: number
  /** Column of the time at which the fact became known; null where every fact counts at its stream's own time. */
  readonly knownColumn: number | null
  /** One per stream that leaves facts with this entity. */
  readonly sources: readonly FactSource[]
}

export interface FactSource {
  readonly stream: number
  /** Field with the time that the fact counts at (the stream's time field unless `at` says otherwise). */
  readonly atField: string
  /** Field and column of each projected value. */
  readonly values: ReadonlyArray<{ readonly field: string; readonly column: number; readonly decimals: number | null }>
}

export interface EntityPlan {
  readonly name: string
  /** Field with the entity's key, by stream index; absent where the stream has none. */
  readonly keyFields: ReadonlyMap<number, string>
  readonly layout: FactLayout
  readonly slots: readonly AggregateSlot[]
  /** Facts older than this, against the task's event time, are dead. */
  readonly retentionMs: number
}

export interface StagePlan {
  /** `rekey`: the stage before all others that only carries events to the tasks of the first entity; there is nothing to query. */
  readonly kind: 'entity' | 'rekey'
  readonly index: number
  readonly entity: EntityPlan
  /** Streams whose raw topics this stage consumes, by stream index. */
  readonly rawStreams: readonly number[]
  /** Repartition topic that it consumes; null for the first stage. */
  readonly hopIn: HopPlan | null
  /** Repartition topic that it feeds; null for the last stage, which scores. */
  readonly hopOut: HopPlan | null
}

/** A repartition topic between two stages: single-object Avro, one record type per carried stream and one for bare watermarks. */
export interface HopPlan {
  readonly topic: string
  /** Streams carried over. */
  readonly streams: readonly number[]
  /** Slots (of all earlier stages) carried with the scored stream. */
  readonly slots: readonly AggregateSlot[]
  readonly codec: RecordCodec<HopRecord>
}

export type HopRecord = HopEvent | HopMark

/** Sent in canonical order, so that its own time says how far its sender has come. */
export interface HopEvent {
  readonly kind: 'event'
  /** Partition of the sending task. */
  readonly source: number
  readonly stream: number
  /** Where the raw event lies. */
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly event: EventValues
  /** Value of every carried slot, in the hop's order, NaN where missing; empty for streams that are not scored. */
  readonly slots: readonly number[]
  /** Position of every earlier stage's task when it read these slots; empty for streams that are not scored. */
  readonly positions: readonly StagePosition[]
}

/** How far tasks of one process have come; it lies behind the events of their transaction, in every partition. */
export interface HopMark {
  readonly kind: 'mark'
  readonly sources: readonly HopSource[]
  /**
   * By source: the place that each was known to have come to before the idle ones of this mark last looked and found their inputs at their
   * end. Nothing earlier than these places was overlooked. Empty where none is idle.
   */
  readonly heard: readonly CanonicalPosition[]
  /** The sender has begun to read: all who are idle say so again. */
  readonly asks: boolean
}

export interface HopSource {
  /**
   * Partition of a task of the stage before. Beyond their number: a raw input of a task that reads this topic, with its next offset as
   * the watermark (see `processors/hearing.ts`).
   */
  readonly source: number
  /** Canonical place that the task has passed: it sends nothing at or before it from here on, except late events. */
  readonly watermark: number
  readonly order: number
  /** Event time that its facts are kept by, see `TaskPosition`: what it sends from here on was judged by this or later. Null: not known. */
  readonly horizon: number | null
  /** The task is at the end of its inputs: what lies at or before the places that it has heard of need not wait for it ... */
  readonly idle: boolean
  /** ... as far as this place, beyond which the task holds something; null where it holds nothing. */
  readonly until: CanonicalPosition | null
}

/** Input position from which a stage's values can be folded again: all facts before these offsets, up to the event in canonical order. */
export interface StagePosition {
  readonly stage: string
  readonly partition: number
  /** Next offset of each input of the stage, raw topics first in stream order, then the repartition topic. */
  readonly next: readonly number[]
}

export interface FeaturePlan {
  readonly name: string
  /** Stage (entity) whose log alone gives the feature, so that it can be queried for a key; null where it needs an event. */
  readonly entity: string | null
  /**
   * From event and slots vector to a value; NaN is missing. Throws `FeatureFailed` where a derive function throws or returns no finite
   * number.
   */
  readonly compute: (event: EventValues, slots: ArrayLike<number>) => number
}

export interface LabelPlan {
  readonly stream: number
  /** The outcome that every label event reports, or the field of it that holds the outcome (see `label-outcome.ts`). */
  readonly value: number | { readonly field: string }
  /** Of an event that no label names once so much event time has passed, or whose label was withdrawn. */
  readonly otherwise: { readonly value: number; readonly afterMs: number }
}

/** A prediction as it lies in the predictions topic: what was scored, with what, from where. */
export interface Prediction {
  readonly id: string
  readonly time: number
  readonly score: number | null
  /** Null while there is no model. */
  readonly modelVersion: string | null
  /** Vector in the plan's feature order, NaN where missing. */
  readonly features: readonly number[]
  readonly fingerprint: string
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly positions: readonly StagePosition[]
  readonly reasons: ReadonlyArray<{ readonly feature: string; readonly contribution: number }>
  /** What the challengers of that time gave for the same vector; empty where there was none. */
  readonly shadow: readonly ShadowScore[]
}

export interface ShadowScore {
  readonly version: string
  readonly score: number
}

/** A dead letter: the original bytes, where they lay, and all that is wrong with them. Made by `dead-letter.ts`, which bounds it. */
export interface Rejection {
  /** Who refused it: a stage, or `http` for an event that came so and never lay in Kafka (partition and offset −1). */
  readonly stage: string
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly appendedAtMs: number
  readonly key: Buffer | null
  /** Length of the whole key and value, of which the letter may hold the beginning only; null where there is none. */
  readonly keyBytes: number | null
  readonly value: Buffer | null
  readonly valueBytes: number | null
  readonly headers: Readonly<Record<string, Buffer>>
  /** How often it had been put back into the raw topic. */
  readonly attempt: number
  readonly problems: readonly Problem[]
}

/** Entries of the registry topic. Versions are immutable; every change of an alias is an entry of its own. */
export type RegistryRecord = ModelVersion | AliasChange | VersionNote

/** How a version came to be: fitted anew, learnt on from label to label, taken from a file, or fitted because somebody asked for it. */
export type VersionOrigin = 'retrain' | 'continuous' | 'import' | 'manual'

export interface ModelVersion {
  readonly kind: 'version'
  readonly version: string
  readonly createdAtMs: number
  /** Definition that the vectors came from. */
  readonly fingerprint: string
  readonly seed: number
  readonly model: ModelWeights
  readonly metrics: Readonly<Record<string, number>>
  /** Positions in the logged stream that were trained on. */
  readonly trainedOn: ReadonlyArray<{ readonly topic: string; readonly partition: number; readonly offset: number }>
  /** Version that it was learnt on from, or that it was to replace; null where there was none. */
  readonly parent: string | null
  readonly origin: VersionOrigin
}

export interface AliasChange {
  readonly kind: 'alias'
  readonly alias: string
  /** Null: the alias is taken away. */
  readonly version: string | null
  /** Version that the alias pointed to before; the change counts only if it still does (compare-and-set). */
  readonly previous: string | null
  readonly changedAtMs: number
  readonly by: string
  readonly reason: string
  /** A rollback marks the previous version, which becomes the champion again by a `restore` only. */
  readonly action: 'set' | 'rollback' | 'restore'
}

/** Something to be known about a version, which moves no alias. Of kinds that a reader does not know it keeps the text. */
export interface VersionNote {
  readonly kind: 'note'
  /** `refused`: as a candidate it was not promoted. Others may come. */
  readonly note: string
  readonly version: string
  /** Champion that it was compared with. */
  readonly against: string | null
  readonly notedAtMs: number
  readonly by: string
  readonly reason: string
  /** What was measured. */
  readonly figures: Readonly<Record<string, number>>
}

export interface TopicPlan {
  readonly topic: string
  readonly role: 'raw' | 'hop' | 'predictions' | 'rejected' | 'models' | 'schemas'
  /** Null: as many as the pipeline has partitions. */
  readonly partitions: number | null
  /** Shortest retention that keeps the guarantees, ms; null for ever. */
  readonly retentionMs: number | null
}

export interface Plan {
  readonly name: string
  readonly version: number
  /** Changes with anything that changes a value of the vector, derive functions included. Logged with every prediction. */
  readonly fingerprint: string
  /** Changes with the layout of stored state only. */
  readonly stateFingerprint: string
  readonly streams: readonly StreamPlan[]
  readonly scored: StreamPlan
  readonly stages: readonly StagePlan[]
  readonly slots: readonly AggregateSlot[]
  /** In vector order. */
  readonly features: readonly FeaturePlan[]
  readonly label: LabelPlan
  readonly delivery: 'exactly-once' | 'at-least-once'
  readonly model: ModelPlan
  readonly learn: LearnPlan
  readonly topics: readonly TopicPlan[]
  readonly predictions: { readonly topic: string; readonly codec: RecordCodec<Prediction> }
  readonly rejected: { readonly topic: string; readonly codec: RecordCodec<Rejection> }
  readonly models: { readonly topic: string; readonly codec: RecordCodec<RegistryRecord> }
  /** What all codecs of the plan share: the only part of a plan that grows, by what is read from the topic. */
  readonly schemas: { readonly topic: string; readonly writers: WriterSchemas }
}
