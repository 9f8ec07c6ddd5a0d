/**
 * The records on a pipeline's own topics as the rest of Millrace uses them: repartition, predictions, dead letters, registry. Made from and
 * to bytes by `record-codecs.ts`.
 */
import type { CanonicalPosition } from '../kernel/canonical-order.ts'
import type { EventValues, Problem } from '../kernel/event.ts'
import type { ModelWeights } from '../models/models.ts'

export type RepartitionRecord = RepartitionEvent | WatermarkRecord

/** Sent in canonical order, so that its own time is its sender's watermark. */
export interface RepartitionEvent {
  readonly kind: 'event'
  /** Partition of the sending task. */
  readonly source: number
  readonly stream: number
  /** Location of the raw event. */
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly event: EventValues
  /** Value of every carried slot, in the order of the repartition topic, NaN where missing; empty for streams that are not scored. */
  readonly slots: readonly number[]
  /** Carried slots that the definition which sent it did not have: NaN in `slots`, but not missing. Empty where it is sent. */
  readonly unsent: readonly string[]
  /** Position of every earlier stage's task when it read these slots; empty for streams that are not scored. */
  readonly positions: readonly StagePosition[]
}

/** Watermarks of the tasks of one process; written after the events of their transaction, to every partition. */
export interface WatermarkRecord {
  readonly kind: 'watermark'
  readonly sources: readonly SourceProgress[]
  /**
   * By source: the watermark that was observed of each before the idle tasks of this record last polled and found their inputs at their
   * end, or before the fetch whose end the caught-up tasks have reached. Nothing before these positions was missed. Empty where none is
   * idle or caught up.
   */
  readonly observed: readonly CanonicalPosition[]
  /** The sender has begun to read: all idle tasks report again. */
  readonly requestsProgress: boolean
}

export interface SourceProgress {
  /**
   * Partition of a task of the stage before. Beyond their number: a raw input of a task that reads this topic, with its next offset as
   * the watermark (see `processors/watermarks/source-frontiers.ts`).
   */
  readonly source: number
  /** Canonical position that the task has passed: from now on it sends nothing at or before it, except late events. */
  readonly watermark: number
  readonly order: number
  /**
   * Event time that retention of its facts counts from, see `TaskPosition`; what it sends from now on was checked against this or later.
   * Null: unknown.
   */
  readonly retentionWatermark: number | null
  /** The task is at the end of its inputs: events at or before the positions that it has observed need not wait for it ... */
  readonly idle: boolean
  /** ... up to this position, beyond which the task holds events; null where it holds none. */
  readonly idleUpTo: CanonicalPosition | null
  /** The task has sent everything that was in Kafka when it had observed `observed`, although it may not be at the end of its inputs. */
  readonly caughtUp: boolean
  /** The task, or one that it waits for, has come nearer to its end since its last report: it is worth waiting for. */
  readonly advancing: boolean
}

/** Input position from which a stage's values can be folded again: all facts before these offsets, up to the event in canonical order. */
export interface StagePosition {
  readonly stage: string
  readonly partition: number
  /** Next offset of each input of the stage, raw topics first in stream order, then the repartition topic. */
  readonly next: readonly number[]
}

/** A prediction as in the predictions topic: what was scored, with what, from where. */
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

/** A dead letter: the original bytes, their location, and all that is wrong with them. Made by `dead-letter.ts`, which bounds it. */
export interface DeadLetter {
  /** What rejected it: a stage, or `http` for an event received over HTTP that was never in Kafka (partition and offset −1). */
  readonly stage: string
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly appendedAtMs: number
  readonly key: Buffer | null
  /** Length of the whole key and value, of which the dead letter may hold only the beginning; null where there is none. */
  readonly keyBytes: number | null
  readonly value: Buffer | null
  readonly valueBytes: number | null
  readonly headers: Readonly<Record<string, Buffer>>
  /** Number of times that it had been requeued to the raw topic. */
  readonly attempt: number
  readonly problems: readonly Problem[]
}

/** Entries of the registry topic. Versions are immutable; every change of an alias is an entry of its own. */
export type RegistryRecord = ModelVersion | AliasChange | VersionNote

/** How a version came to be: fitted from scratch, learnt continuously from labels, imported from a file, or fitted on request. */
export type VersionOrigin = 'retrain' | 'continuous' | 'import' | 'manual'

export interface ModelVersion {
  readonly kind: 'version'
  readonly version: string
  readonly createdAtMs: number
  /** Definition that the vectors came from. */
  readonly fingerprint: string
  /** What its features meant there, by name; absent or empty in versions from before: only that definition's vectors fit. */
  readonly identities?: Readonly<Record<string, string>>
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
