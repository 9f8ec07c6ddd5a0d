/**
 * The plan: everything derived from one definition, computed once by `compile` and only read afterwards. Every room works from it;
 * none spells a field, topic or key of its own.
 */

import type { AggregateKind } from '../definition/aggregates.ts'
import type { EventValues, FieldPlan } from '../kernel/event.ts'
import type { ModelPlan } from '../models/models.ts'
import type { EventCodec, RecordCodec } from '../wire/codec.ts'
import type { PredictionCodec } from '../wire/prediction-codec.ts'
import type { RepartitionCodec } from '../wire/record-codecs.ts'
import type { DeadLetter, RegistryRecord } from '../wire/records.ts'
import type { WriterSchemas } from '../wire/writer-schemas.ts'
import type { LearnPlan } from './learn-plan.ts'

export interface StreamPlan {
  readonly name: string
  /** Rank in canonical order: the scored stream is 0. */
  readonly index: number
  readonly topic: string
  readonly idField: string
  readonly keyField: string
  readonly timeField: string
  readonly fields: readonly FieldPlan[]
  /** Where id, key and time lie in the rows of the codec's layout. */
  readonly columns: { readonly id: number; readonly key: number; readonly time: number }
  /** Events may come this much out of order within their input partition and are still put into order before they are folded. */
  readonly disorderMs: number
  /** Events later than this, against earlier offsets of their input partition, are rejected. */
  readonly latenessMs: number
  /** Events dated further than this ahead of their append time are rejected. */
  readonly aheadMs: number
  /** Events may be in any partition of the raw topic: a repartitioning stage carries them to the partition of their key. */
  readonly rekey: boolean
  /** Raw topic: JSON or Avro in, Avro out. */
  readonly codec: EventCodec
  /** Index of the stage whose tasks consume the raw topic; null for a label stream that no feature is computed from. */
  readonly entersAt: number | null
}

/** A number computed from one entity's log. The same aggregate written twice is one slot. */
export interface AggregateSlot {
  /** Index in the slots vector, over all stages. */
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
 * The row that a fact leaves in its entity's log, in cells of eight bytes. Columns: 0 time (ms, the time it counts at), 1 order (canonical
 * order number), 2 id (64-bit keyed hash of the event id), 3 content (32-bit keyed hash of the event's values, then which fields they are
 * of: `event-content.ts`), then `known` (ms, where some stream counts at another time than its own), then values. All but 2 and 3 are
 * doubles; NaN is a missing value.
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
  /** Field with the time that the fact counts at (the stream's time field unless `at` names another). */
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
  readonly repartitionIn: RepartitionPlan | null
  /** Repartition topic that it writes to; null for the last stage, which scores. */
  readonly repartitionOut: RepartitionPlan | null
}

/** A repartition topic between two stages: single-object Avro, one record type per carried stream and one for bare watermarks. */
export interface RepartitionPlan {
  readonly topic: string
  /** Streams carried over. */
  readonly streams: readonly number[]
  /** Slots (of all earlier stages) carried with the scored stream. */
  readonly slots: readonly AggregateSlot[]
  readonly codec: RepartitionCodec
}

/** What stored rows mean: a change of any of this makes them unreadable or incomplete. */
export interface StateShape {
  readonly name: string
  /** Version of the fixed columns of a row; absent in version 1, of Millrace 0.1. */
  readonly rows?: number
  readonly streams: ReadonlyArray<{
    readonly name: string
    readonly idField: string
    readonly keyField: string
    readonly timeField: string
    readonly rekey?: boolean
  }>
  readonly stages: ReadonlyArray<{
    readonly name: string
    /** Field with the entity's key, by stream index. */
    readonly keys: ReadonlyArray<readonly [number, string]>
    readonly layout: FactLayout
    readonly retentionMs: number
  }>
}

export interface FeaturePlan {
  readonly name: string
  /** Changes with what the feature means, and with nothing else (`feature-identity.ts`). */
  readonly identity: string
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
  /**
   * Of an event that no label names once so much event time has passed, or whose label was withdrawn; a null value: unknown, so that it is
   * neither trained on nor evaluated.
   */
  readonly otherwise: { readonly value: 0 | 1 | null; readonly afterMs: number }
  /** A report is learnt from as soon as it arrives; absent: once its event is due. */
  readonly learn?: 'on-arrival'
}

export interface TopicPlan {
  readonly topic: string
  readonly role: 'raw' | 'repartition' | 'predictions' | 'rejected' | 'models' | 'schemas' | 'raw schemas'
  /** Null: as many as the pipeline has partitions. */
  readonly partitions: number | null
  /** Shortest retention that keeps the guarantees, ms; null: unlimited. */
  readonly retentionMs: number | null
}

export interface SchemasPlan {
  /** The pipeline's own topic of schemas. */
  readonly topic: string
  readonly writers: WriterSchemas
  /** Key and value of the record that says what the features mean (`schemas/wire/definition-record.ts`). */
  readonly definition: readonly [string, object]
  /** One per raw topic. */
  readonly raw: readonly RawSchemas[]
}

/** Schemas of a raw topic lie beside it, for every pipeline that reads it. */
export interface RawSchemas {
  readonly topic: string
  /** The raw topic. */
  readonly of: string
  /** Full name of the Avro record that this pipeline writes there. */
  readonly record: string
}

export interface Plan {
  readonly name: string
  readonly version: number
  /** Changes with anything that changes a value of the vector, derive functions included. Logged with every prediction. */
  readonly fingerprint: string
  /** Changes with the layout of stored state only. */
  readonly stateFingerprint: string
  /** What it is the fingerprint of. */
  readonly stateShape: StateShape
  readonly streams: readonly StreamPlan[]
  readonly scored: StreamPlan
  readonly stages: readonly StagePlan[]
  /** Those of `stages` that keep the facts of an entity: all but the one that only rekeys. */
  readonly entityStages: readonly StagePlan[]
  readonly slots: readonly AggregateSlot[]
  /** In vector order. */
  readonly features: readonly FeaturePlan[]
  readonly label: LabelPlan
  readonly delivery: 'exactly-once' | 'at-least-once'
  readonly model: ModelPlan
  readonly learn: LearnPlan
  readonly topics: readonly TopicPlan[]
  readonly predictions: { readonly topic: string; readonly codec: PredictionCodec }
  readonly rejected: { readonly topic: string; readonly codec: RecordCodec<DeadLetter> }
  readonly models: { readonly topic: string; readonly codec: RecordCodec<RegistryRecord> }
  /** What all codecs of the plan share: the only part of a plan that grows, by what is read from the topic. */
  readonly schemas: SchemasPlan
}
