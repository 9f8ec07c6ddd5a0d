/**
 * The algebra of every kind of aggregate: what is accumulated while the values of a window are scanned, and the aggregate's value from
 * it. Called by `read-slots.ts`, which chooses from this table once, when it compiles a definition.
 *
 * A scan runs from the newest fact to the oldest, and windows that end together share it: an accumulator must give the same value
 * whatever the order in which values are added, or state which one it keeps.
 */

import type { AggregateKind } from '../../schemas/definition/aggregates.ts'
import { addAllExact, clearExactSum, createExactSum, type ExactSum, exactSumOf } from './exact-sum.ts'

/** A running quantity of one column. Kinds that name the same accumulator share one state per column. */
export interface Accumulator<S> {
  empty(): S
  clear(state: S): void
  /** Adds the first `count` of these values, at least one, newest fact first; none is NaN. */
  add(state: S, values: Float64Array, count: number): void
}

/** How much a scan has seen so far. */
export interface Counts {
  facts: number
  /** Facts that have a value in the column. */
  values: number
  /** 10^decimals where the column's values are integers, 1 where they are plain doubles. */
  readonly scale: number
}

export interface AggregateAlgebra<S> {
  /** Null: the kind counts facts and reads no column. */
  readonly accumulator: Accumulator<S> | null
  /** NaN is missing. */
  value(state: S, counts: Counts): number
  /** What windows that slide keep for it: the number of facts, a sum, which `valueOfSum` makes a value of, or the fact with this value. */
  readonly slides: 'count' | 'sum' | 'mean' | 'smallest' | 'largest'
}

export const exactSum: Accumulator<ExactSum> = { empty: createExactSum, clear: clearExactSum, add: addAllExact }

/** NaN before the first value. */
interface Extreme {
  value: number
}

const emptyExtreme = (): Extreme => ({ value: Number.NaN })
const clearExtreme = (state: Extreme): void => {
  state.value = Number.NaN
}

const smallest: Accumulator<Extreme> = {
  empty: emptyExtreme,
  clear: clearExtreme,
  add(state, values, count) {
    let least = Number.isNaN(state.value) ? values[0]! : state.value
    for (let index = 0; index < count; index++) {
      const value = values[index]!
      if (value < least) least = value
    }
    state.value = least
  },
}
const largest: Accumulator<Extreme> = {
  empty: emptyExtreme,
  clear: clearExtreme,
  add(state, values, count) {
    let most = Number.isNaN(state.value) ? values[0]! : state.value
    for (let index = 0; index < count; index++) {
      const value = values[index]!
      if (value > most) most = value
    }
    state.value = most
  },
}

/** `values`: how many were added. */
export function valueOfSum(isMean: boolean, sum: number, values: number, scale: number): number {
  if (!isMean) return sum / scale
  return values === 0 ? Number.NaN : sum / (values * scale)
}

export const aggregates = {
  count: { accumulator: null, value: (_: unknown, { facts }) => facts, slides: 'count' },
  sum: {
    accumulator: exactSum,
    value: (sum: ExactSum, { values, scale }) => valueOfSum(false, exactSumOf(sum), values, scale),
    slides: 'sum',
  },
  mean: {
    accumulator: exactSum,
    value: (sum: ExactSum, { values, scale }) => valueOfSum(true, exactSumOf(sum), values, scale),
    slides: 'mean',
  },
  min: { accumulator: smallest, value: ({ value }: Extreme, { scale }) => value / scale, slides: 'smallest' },
  max: { accumulator: largest, value: ({ value }: Extreme, { scale }) => value / scale, slides: 'largest' },
} as const satisfies Record<AggregateKind, AggregateAlgebra<unknown>>
