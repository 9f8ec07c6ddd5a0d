/**
 * The builders of a pipeline's one definition: plain frozen values that refer to each other. Nothing is checked or started here;
 * `compile` reports every mistake at once. That holds for callers in JavaScript too, so a builder takes what is missing as it is.
 */
import type { Duration } from '../kernel/duration.ts'
import type { FieldKind, FieldValue } from '../kernel/event.ts'
import type { AggregateKind } from '../plan/plan.ts'
import type { LearnDefinition, ModelDefinition } from './model-definition.ts'

export type { FitOptions, LearnerOptions, OwnLearner, OwnModelOptions, Predict, TrainingRows } from './custom-model.ts'
export { better, logisticRegression, mlp, ownModel, prior } from './model-definition.ts'

declare const valueType: unique symbol

/** What a field may hold. Every limit is checked on every event. */
export interface FieldSpec<T extends FieldValue = FieldValue> {
  readonly kind: FieldKind
  /** The value may be missing. */
  readonly optional: boolean
  readonly min?: number
  readonly max?: number
  readonly decimals?: number
  readonly lengthMax?: number
  readonly [valueType]?: T
}

interface Optional {
  readonly optional?: boolean
}

/** Text of at most `lengthMax` UTF-16 units (256 unless told). Ids, keys and categories. */
export function text(options: Optional & { readonly lengthMax?: number } = {}): FieldSpec<string> {
  return Object.freeze({ kind: 'text', optional: false, lengthMax: 256, ...options })
}

/** A finite double. With `decimals`, at most that many (money: 2), and sums are exact integers. */
export function number(
  options: Optional & { readonly min?: number; readonly max?: number; readonly decimals?: number } = {},
): FieldSpec<number> {
  return Object.freeze({ kind: 'number', optional: false, ...options })
}

/** A whole number within ±(2^53 − 1). */
export function integer(options: Optional & { readonly min?: number; readonly max?: number } = {}): FieldSpec<number> {
  return Object.freeze({ kind: 'integer', optional: false, ...options })
}

/** An instant. In JSON an RFC 3339 text with zone or whole milliseconds since 1970; in functions the milliseconds. */
export function timestamp(options: Optional = {}): FieldSpec<number> {
  return Object.freeze({ kind: 'timestamp', optional: false, ...options })
}

/** True or false. */
export function flag(options: Optional = {}): FieldSpec<boolean> {
  return Object.freeze({ kind: 'flag', optional: false, ...options })
}

export type FieldSpecs = Readonly<Record<string, FieldSpec>>

/** A field of a stream, to be used in aggregates, entities and derived values. */
export interface FieldRef<T extends FieldValue = FieldValue> {
  readonly kind: 'field'
  readonly stream: AnyStream
  readonly name: string
  readonly spec: FieldSpec<T>
}

export interface Stream<F extends FieldSpecs = FieldSpecs> extends AnyStream {
  readonly fields: { readonly [K in keyof F]: F[K] extends FieldSpec<infer T> ? FieldRef<T> : never }
}

/** A stream whatever its fields. */
export interface AnyStream {
  readonly kind: 'stream'
  readonly name: string
  readonly topic: string
  readonly id: string
  readonly key: string
  readonly time: string
  readonly specs: FieldSpecs
  readonly disorder: Duration
  readonly lateness: Duration
  readonly ahead: Duration
  readonly rekey: boolean
}

type NamesOf<F extends FieldSpecs, T> = {
  [K in keyof F]: F[K] extends FieldSpec<infer V> ? (V extends T ? K : never) : never
}[keyof F] &
  string

export interface StreamOptions<F extends FieldSpecs> {
  /** Text field that identifies an event; the same id again within retention is a duplicate, and the first one wins. */
  readonly id: NamesOf<F, string>
  /** Text field that is the Kafka key. */
  readonly key: NamesOf<F, string>
  /** Timestamp field: the event time. */
  readonly time: NamesOf<F, number>
  readonly fields: F
  /** Raw topic; the stream's name unless told. */
  readonly topic?: string
  /** Events may come this much out of order within a partition and are put in order before they count (default 0s). */
  readonly disorder?: Duration
  /** Events later than this are rejected (default 1d). */
  readonly lateness?: Duration
  /** Events dated further than this ahead of the time they were appended are rejected (default 5m). */
  readonly ahead?: Duration
  /**
   * Records may lie in any partition, whatever their producer's way of hashing keys: they are carried to the right one by
   * one hop more. Without it an event in another partition than its key's (by murmur2) is rejected.
   */
  readonly rekey?: boolean
}

/** Events of one kind: one raw topic, one schema. */
export function stream<const F extends FieldSpecs>(name: string, options: StreamOptions<F>): Stream<F> {
  const given = (options ?? {}) as StreamOptions<F>
  const fields: Record<string, FieldRef> = {}
  const built = {
    kind: 'stream' as const,
    name,
    topic: given.topic ?? name,
    id: given.id,
    key: given.key,
    time: given.time,
    specs: given.fields,
    disorder: given.disorder ?? '0s',
    lateness: given.lateness ?? '1d',
    ahead: given.ahead ?? '5m',
    rekey: given.rekey ?? false,
    fields: fields as Stream<F>['fields'],
  }
  for (const [field, spec] of Object.entries(given.fields ?? {})) {
    fields[field] = Object.freeze({ kind: 'field', stream: built, name: field, spec })
  }
  Object.freeze(fields)
  return Object.freeze(built)
}

/** Something whose history matters, found in several streams by the field that names it there. */
export interface Entity {
  readonly kind: 'entity'
  readonly name: string
  readonly keys: readonly FieldRef<string>[]
}

export function entity(name: string, keys: readonly FieldRef<string>[]): Entity {
  return Object.freeze({ kind: 'entity', name, keys: frozenList(keys) })
}

function frozenList<T>(values: readonly T[]): readonly T[] {
  return Object.freeze(Array.isArray(values) ? [...values] : [])
}

/** A number over the facts of one entity within `(t − lag − over, t − lag]` of the scored event's time t. */
export interface Aggregate {
  readonly kind: 'aggregate'
  readonly of: AggregateKind
  readonly stream: AnyStream
  readonly field: FieldRef<number> | null
  readonly by: Entity
  readonly over: Duration
  readonly lag: Duration
  readonly at: FieldRef<number> | null
}

export interface Window {
  readonly by: Entity
  readonly over: Duration
  /** How long before the event the window ends (default 0s: the event itself is the newest in it). */
  readonly lag?: Duration
  /** Timestamp field to place facts by, instead of their stream's own time. They are seen from the stream's own time on. */
  readonly at?: FieldRef<number>
}

function aggregate(of: AggregateKind, stream: AnyStream, field: FieldRef<number> | null, window: Window): Aggregate {
  const { by, over, lag = '0s' } = window ?? {}
  // A misspelt field is `undefined`: it must not count as none.
  const at = window && 'at' in window ? window.at : null
  return Object.freeze({ kind: 'aggregate', of, stream, field, by, over, lag, at })
}

/** How many events. */
export function count(stream: AnyStream, window: Window): Aggregate {
  return aggregate('count', stream, null, window)
}

/** Exact sum; 0 over no values. */
export function sum(field: FieldRef<number>, window: Window): Aggregate {
  return aggregate('sum', field?.stream, field, window)
}

/** Exact mean; missing over no values. */
export function mean(field: FieldRef<number>, window: Window): Aggregate {
  return aggregate('mean', field?.stream, field, window)
}

/** Smallest value; missing over no values. */
export function min(field: FieldRef<number>, window: Window): Aggregate {
  return aggregate('min', field?.stream, field, window)
}

/** Largest value; missing over no values. */
export function max(field: FieldRef<number>, window: Window): Aggregate {
  return aggregate('max', field?.stream, field, window)
}

/** A number computed by an ordinary, pure function from fields of the scored event, aggregates and other derived values. */
export interface Derived {
  readonly kind: 'derived'
  readonly inputs: readonly Input[]
  /** The function given, over its inputs as a list. */
  readonly compute: (values: readonly FieldValue[]) => number | null
}

export type Input = FieldRef | Aggregate | Derived
type ValueOf<I> = I extends FieldRef<infer T> ? T : number
type ValuesOf<I extends readonly Input[]> = { [K in keyof I]: ValueOf<I[K]> }

/** Called only when no input is missing, else the value is missing; return null for missing. Must return a finite number or null. */
export function derive<const I extends readonly Input[]>(
  inputs: I,
  compute: (...values: ValuesOf<I>) => number | null,
): Derived {
  return Object.freeze({
    kind: 'derived',
    inputs: frozenList(inputs),
    compute: typeof compute === 'function' ? overList(compute) : compute,
  })
}

/** The types of the inputs and of the parameters are one and the same list, which ends at this erasure. */
function overList<I extends readonly Input[]>(compute: (...values: ValuesOf<I>) => number | null): Derived['compute'] {
  return (values) => compute(...(values as unknown as ValuesOf<I>))
}

/** What may stand in the vector. */
export type Feature = FieldRef<number> | FieldRef<boolean> | Aggregate | Derived
export type Features = Readonly<Record<string, Feature>>

export interface Label {
  /** Stream that reports outcomes, under the id of the scored event; the latest report by its own time holds. */
  readonly from: AnyStream
  /**
   * What every report says (0 or 1), or the field of `from` that says it: a number or flag. Where an optional field is missing, the report
   * withdraws what was said before.
   */
  readonly value: number | FieldRef<number> | FieldRef<boolean>
  /** An event that nothing was reported of has this value once `after` of event time has passed. */
  readonly otherwise: { readonly value: number; readonly after: Duration }
}

export interface Definition<F extends Features> {
  /** Prefix of every derived topic and key. */
  readonly name: string
  /** Raise it with every change of meaning. */
  readonly version: number
  readonly scores: AnyStream
  /** In vector order. */
  readonly features: F
  readonly label: Label
  readonly model: ModelDefinition
  /** How the model goes on learning; only `train` trains unless told. */
  readonly learn?: LearnDefinition
  /** Exactly once unless told. */
  readonly delivery?: Delivery
}

/**
 * `exactly-once`: every event is predicted once, in one transaction with what was consumed. `at-least-once`: without transactions, and so
 * sooner; after a crash some predictions appear again under the same id, while features count every event once all the same.
 */
export type Delivery = (typeof deliveries)[number]
export const deliveries = ['exactly-once', 'at-least-once'] as const

export interface Pipeline<F extends Features = Features> extends Definition<F> {
  readonly kind: 'pipeline'
}

export function definePipeline<const F extends Features>(definition: Definition<F>): Pipeline<F> {
  return Object.freeze({ kind: 'pipeline', ...definition })
}

/** The vector of a pipeline by name; null is missing. */
export type FeatureValues<P> = P extends Pipeline<infer F> ? { readonly [K in keyof F]: number | null } : never
