/**
 * Every kind of aggregate computed from a plain list of the values in its window. Called by the oracle; shares no code with the
 * accumulators of the feature store.
 */

import type { AggregateKind } from '../../schemas/definition/aggregates.ts'
import { bigSum } from './big-sum.ts'

/**
 * From the values that are there to the aggregate's value, NaN where it is missing. `facts` also counts those without a value; the values
 * are integers where `scale` is not 1.
 */
type SlowAggregate = (values: readonly number[], window: { readonly facts: number; readonly scale: number }) => number

/** Larger values make a sum missing: it could be beyond the largest double. */
const summandMax = 2 ** 1000

export const slowAggregates = {
  count: (_values, { facts }) => facts,
  sum: (values, { scale }) => exactSum(values) / scale,
  mean: (values, { scale }) => (values.length === 0 ? Number.NaN : exactSum(values) / (values.length * scale)),
  min: (values, { scale }) =>
    values.length === 0 ? Number.NaN : values.reduce((least, value) => Math.min(least, value)) / scale,
  max: (values, { scale }) =>
    values.length === 0 ? Number.NaN : values.reduce((most, value) => Math.max(most, value)) / scale,
} as const satisfies Record<AggregateKind, SlowAggregate>

function exactSum(values: readonly number[]): number {
  return values.some((value) => Math.abs(value) > summandMax) ? Number.NaN : bigSum(values)
}
