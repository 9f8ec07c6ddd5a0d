/** The builders of streams and their fields. Called by definitions. */
import type { Duration } from '../kernel/duration.ts'
import type { FieldKind, FieldValue } from '../kernel/event.ts'

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

/** Text of at most `lengthMax` UTF-16 units (256 by default). Ids, keys and categories. */
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
  /** Raw topic; the stream's name by default. */
  readonly topic?: string
  /**
   * Events may come this much out of order within a partition and are put in order before they count (default 0s). It costs as much
   * delay: an event waits until its partition has come so far beyond it, or has been at its end for so long.
   */
  readonly disorder?: Duration
  /** Events later than this are rejected (default 1d). */
  readonly lateness?: Duration
  /** Events dated further than this ahead of the time they were appended are rejected (default 5m). */
  readonly ahead?: Duration
  /**
   * Records may lie in any partition, however their producer hashes keys: one more repartition topic carries them to the right one.
   * Without it an event in another partition than its key's (by murmur2) is rejected.
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
