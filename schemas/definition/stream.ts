/** The builders of streams and their fields. Called by definitions. */
import type { Duration } from '../kernel/duration.ts'
import type { FieldKind, FieldValue } from '../kernel/event.ts'
import { namesOf, optionsIn, type Stray, strayIn } from '../kernel/stray-options.ts'

declare const valueType: unique symbol

/** What a field may hold. Every limit is checked on every event. `T` includes null where the value may be missing. */
export interface FieldSpec<T extends FieldValue = FieldValue, K extends FieldKind = FieldKind> extends Stray {
  readonly kind: K
  /** The value may be missing. */
  readonly optional: boolean
  readonly min?: number
  readonly max?: number
  readonly decimals?: number
  readonly lengthMax?: number
  readonly from?: string
  readonly until?: string
  readonly [valueType]?: T
}

/** The value type of a field whose option `optional` has the type `O`. */
type Maybe<T, O extends boolean> = O extends false ? T : T | null

export interface FieldOptions<O extends boolean = boolean> {
  /** The value may be missing (default false). */
  readonly optional?: O
}

export interface TextOptions<O extends boolean = boolean> extends FieldOptions<O> {
  /** Longest value, in UTF-16 units, 1 to 65,536 (default 256). */
  readonly lengthMax?: number
}

export interface IntegerOptions<O extends boolean = boolean> extends FieldOptions<O> {
  /** Smallest value. */
  readonly min?: number
  /** Largest value. */
  readonly max?: number
}

export interface NumberOptions<O extends boolean = boolean> extends IntegerOptions<O> {
  /** At most so many decimals, 0 to 9 (money: 2); sums are then exact integers of the last decimal. */
  readonly decimals?: number
}

/** A day (which begins in UTC) or an RFC 3339 instant with zone. */
export interface Instants {
  /** The first instant (default 1973-01-01: seconds since 1970 are earlier). */
  readonly from?: string
  /** The first instant beyond (default 2200-01-01: microseconds since 1970 are later). */
  readonly until?: string
}

export interface TimestampOptions<O extends boolean = boolean> extends FieldOptions<O> {
  /** The first instant of this field, such as 1900-01-01 for dates of birth; that of the stream's `instants` by default. */
  readonly from?: string
  /** The first instant beyond; that of the stream's `instants` by default. */
  readonly until?: string
}

/** The options that each kind of field takes. */
export const fieldOptions = {
  text: namesOf<TextOptions>({ optional: true, lengthMax: true }),
  number: namesOf<NumberOptions>({ optional: true, min: true, max: true, decimals: true }),
  integer: namesOf<IntegerOptions>({ optional: true, min: true, max: true }),
  timestamp: namesOf<TimestampOptions>({ optional: true, from: true, until: true }),
  flag: namesOf<FieldOptions>({ optional: true }),
} as const satisfies Record<FieldKind, readonly string[]>

function spec<K extends FieldKind>(kind: K, defaults: object, options: object | undefined): FieldSpec<never, K> {
  const known = Object.entries(optionsIn(options)).filter(([name]) => fieldOptions[kind].includes(name))
  const stray = strayIn(options, fieldOptions[kind])
  return Object.freeze({ kind, optional: false, ...defaults, ...Object.fromEntries(known), ...stray })
}

/** Text of at most `lengthMax` UTF-16 units. Ids, keys and categories. */
export function text<const O extends boolean = false>(
  options: TextOptions<O> = {},
): FieldSpec<Maybe<string, O>, 'text'> {
  return spec('text', { lengthMax: 256 }, options)
}

/** A finite double. With `decimals`, at most that many (money: 2), and sums are exact integers. */
export function number<const O extends boolean = false>(
  options: NumberOptions<O> = {},
): FieldSpec<Maybe<number, O>, 'number'> {
  return spec('number', {}, options)
}

/** A whole number within ±(2^53 − 1). */
export function integer<const O extends boolean = false>(
  options: IntegerOptions<O> = {},
): FieldSpec<Maybe<number, O>, 'integer'> {
  return spec('integer', {}, options)
}

/** An instant. In JSON an RFC 3339 text with zone or whole milliseconds since 1970; in functions the milliseconds. */
export function timestamp<const O extends boolean = false>(
  options: TimestampOptions<O> = {},
): FieldSpec<Maybe<number, O>, 'timestamp'> {
  return spec('timestamp', {}, options)
}

/** True or false. */
export function flag<const O extends boolean = false>(
  options: FieldOptions<O> = {},
): FieldSpec<Maybe<boolean, O>, 'flag'> {
  return spec('flag', {}, options)
}

export type FieldSpecs = Readonly<Record<string, FieldSpec>>

/** A field of a stream, to be used in aggregates, entities and derived values. */
export interface FieldRef<T extends FieldValue = FieldValue, K extends FieldKind = FieldKind> {
  readonly kind: 'field'
  readonly stream: AnyStream
  readonly name: string
  readonly spec: FieldSpec<T, K>
}

/** A field that aggregates are computed from. */
export type NumericField = FieldRef<number | null, 'number' | 'integer' | 'timestamp'>

export interface Stream<F extends FieldSpecs = FieldSpecs> extends AnyStream {
  readonly fields: { readonly [N in keyof F]: F[N] extends FieldSpec<infer T, infer K> ? FieldRef<T, K> : never }
}

/** A stream whatever its fields. */
export interface AnyStream extends Stray {
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
  readonly instants: Instants
  readonly rekey: boolean
}

/** Those of one kind that are never missing. */
type NamesOf<F extends FieldSpecs, K extends FieldKind> = {
  [N in keyof F]: F[N] extends FieldSpec<infer V, K> ? (null extends V ? never : N) : never
}[keyof F] &
  string

export interface StreamOptions<F extends FieldSpecs> {
  /** Text field that identifies an event. Again within retention, it is a duplicate, with other values a `duplicate_conflict`. */
  readonly id: NamesOf<F, 'text'>
  /** Text field that is the Kafka key. */
  readonly key: NamesOf<F, 'text'>
  /** Timestamp field: the event time. */
  readonly time: NamesOf<F, 'timestamp'>
  /** By name: `text()`, `number()`, `integer()`, `timestamp()` or `flag()`. */
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
   * Where the instants of its timestamp fields lie: an event with one outside is rejected, with the unit that the number looks like.
   * Instants before 1970 are possible where `from` says so.
   */
  readonly instants?: Instants
  /**
   * Records may lie in any partition, however their producer hashes keys: one more repartition topic carries them to the right one.
   * Without it an event in another partition than its key's (by murmur2) is rejected.
   */
  readonly rekey?: boolean
}

export const instantsOptions = namesOf<Instants>({ from: true, until: true })

export const streamOptions = namesOf<StreamOptions<FieldSpecs>>({
  id: true,
  key: true,
  time: true,
  fields: true,
  topic: true,
  disorder: true,
  lateness: true,
  ahead: true,
  instants: true,
  rekey: true,
})

/** Events of one kind: one raw topic, one schema. */
export function stream<const F extends FieldSpecs>(name: string, options: StreamOptions<F>): Stream<F> {
  const given = optionsIn(options) as StreamOptions<F>
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
    instants: given.instants ?? {},
    rekey: given.rekey ?? false,
    fields: fields as Stream<F>['fields'],
    ...strayIn(options, streamOptions),
  }
  for (const [field, spec] of Object.entries(given.fields ?? {})) {
    fields[field] = Object.freeze({ kind: 'field', stream: built, name: field, spec })
  }
  Object.freeze(fields)
  return Object.freeze(built)
}
