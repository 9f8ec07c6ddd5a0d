/** The kinds of aggregates and their builders. Called by definitions; the table of kinds by the checks and everything that computes. */
import type { Duration } from '../kernel/duration.ts'
import { namesOf, optionsIn, type Stray, strayIn } from '../kernel/stray-options.ts'
import type { Entity } from './entity.ts'
import type { AnyStream, FieldRef, NumericField } from './stream.ts'

/**
 * Every kind of aggregate: whether it is computed from the facts of a stream or from the values of one field. How it is computed is in
 * `feature-store/aggregates/kinds.ts`, and once more, slowly, in `processors/audit/oracle-aggregates.ts`.
 */
export const aggregateKinds = {
  count: { of: 'facts' },
  sum: { of: 'values' },
  mean: { of: 'values' },
  min: { of: 'values' },
  max: { of: 'values' },
} as const satisfies Record<string, { readonly of: 'facts' | 'values' }>

export type AggregateKind = keyof typeof aggregateKinds

/**
 * A number over the facts of one entity within `(t − lag − over, t − lag]` of the scored event's time t, of which those count that are not
 * after the event in canonical order (docs/time.md).
 */
export interface Aggregate extends Stray {
  readonly kind: 'aggregate'
  readonly of: AggregateKind
  readonly stream: AnyStream
  readonly field: NumericField | null
  readonly by: Entity
  readonly over: Duration
  readonly lag: Duration
  readonly at: FieldRef<number, 'timestamp'> | null
}

export interface Window {
  /** Entity whose facts are aggregated: the one that the scored event names. */
  readonly by: Entity
  /** Length of the window, more than 0s. */
  readonly over: Duration
  /** How long before the event the window ends (default 0s: the event itself is the newest in it). */
  readonly lag?: Duration
  /** Timestamp field that dates the facts, instead of their stream's own time. They are visible from the stream's own time on. */
  readonly at?: FieldRef<number, 'timestamp'>
}

export const windowOptions = namesOf<Window>({ by: true, over: true, lag: true, at: true })

function aggregate(of: AggregateKind, stream: AnyStream, field: NumericField | null, window: Window): Aggregate {
  const given = optionsIn(window) as Window
  const { by, over, lag = '0s' } = given
  // A misspelt field is `undefined`: it must not count as none.
  const at = 'at' in given ? given.at! : null
  return Object.freeze({ kind: 'aggregate', of, stream, field, by, over, lag, at, ...strayIn(window, windowOptions) })
}

/** How many events. */
export function count(stream: AnyStream, window: Window): Aggregate {
  return aggregate('count', stream, null, window)
}

/** Exact sum; 0 over no values. */
export function sum(field: NumericField, window: Window): Aggregate {
  return aggregate('sum', field?.stream, field, window)
}

/** The exact sum (without `decimals`: rounded to a double) divided by the number of values; missing over no values. */
export function mean(field: NumericField, window: Window): Aggregate {
  return aggregate('mean', field?.stream, field, window)
}

/** Smallest value; missing over no values. */
export function min(field: NumericField, window: Window): Aggregate {
  return aggregate('min', field?.stream, field, window)
}

/** Largest value; missing over no values. */
export function max(field: NumericField, window: Window): Aggregate {
  return aggregate('max', field?.stream, field, window)
}
