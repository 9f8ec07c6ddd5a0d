/** Weights in, what a person can read of them out: size, shape, and what each feature counts for. Called by `millrace models`. Pure. */
import type { ModelWeights } from '../../schemas/models/models.ts'
import type { WeightsSummary } from './model.ts'
import { codeOf } from './model-of.ts'
import { norm } from './norm.ts'

export function summaryOf(weights: ModelWeights): WeightsSummary {
  return codeOf(weights).summary(weights)
}

export interface WeightsDifference {
  /** One sentence: how far apart they are as a whole. */
  readonly difference: string
  /** Features that only one of them has. */
  readonly onlyInFirst: readonly string[]
  readonly onlyInSecond: readonly string[]
  /** Values of `summaryOf` of features that both have, greatest difference first. */
  readonly byFeature: ReadonlyArray<{ readonly feature: string; readonly first: number; readonly second: number }>
}

export function differenceOf(first: ModelWeights, second: ModelWeights): WeightsDifference {
  const [one, two] = [summaryOf(first), summaryOf(second)]
  const seconds = new Map(two.values.map(({ feature, value }) => [feature, value]))
  const isComparable = one.meaning !== null && one.meaning === two.meaning
  const byFeature = one.values.flatMap(({ feature, value }) => {
    const other = seconds.get(feature)
    return other === undefined || !isComparable ? [] : [{ feature, first: value, second: other }]
  })
  byFeature.sort((a, b) => Math.abs(b.second - b.first) - Math.abs(a.second - a.first))
  return {
    difference: differenceText(first, second, one, two),
    onlyInFirst: first.features.filter((feature) => !second.features.includes(feature)),
    onlyInSecond: second.features.filter((feature) => !first.features.includes(feature)),
    byFeature,
  }
}

function differenceText(first: ModelWeights, second: ModelWeights, one: WeightsSummary, two: WeightsSummary): string {
  if (JSON.stringify(first) === JSON.stringify(second)) return 'The weights are the same.'
  if (first.kind !== second.kind || one.shape !== two.shape) return `The models are ${one.shape} and ${two.shape}.`
  const [a, b] = [codeOf(first).numbers(first), codeOf(second).numbers(second)]
  if (a.length === 0 || a.length !== b.length) return `Both models are ${one.shape}, with other weights.`
  const share = norm(a.map((value, i) => b[i]! - value)) / norm(a)
  return `Both models are ${one.shape}; the weights differ by ${Number((100 * share).toPrecision(3))} % of their norm.`
}
