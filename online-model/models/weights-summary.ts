/** Weights in, what a person can read of them out: size, shape, and what each feature counts for. Called by `millrace models`. Pure. */
import type { ModelWeights } from '../../schemas/plan/model-plan.ts'

export interface WeightsSummary {
  /** Such as `logistic` or `mlp 64-32`. */
  readonly shape: string
  /** Numbers that were learnt. */
  readonly parameters: number
  /** What `values` are; null where nothing can be said by feature. */
  readonly meaning: string | null
  /** By feature, in vector order. */
  readonly values: ReadonlyArray<{ readonly feature: string; readonly value: number }>
}

export function summaryOf(weights: ModelWeights): WeightsSummary {
  const { features } = weights
  switch (weights.kind) {
    case 'logistic':
      return {
        shape: 'logistic',
        parameters: features.length + 1,
        meaning: 'log odds added by one standard deviation',
        values: features.map((feature, i) => ({ feature, value: weights.weights[i]! })),
      }
    case 'mlp': {
      const { layers } = weights
      const hidden = layers.slice(0, -1).map(({ biases }) => biases.length)
      const units = hidden[0] ?? 1
      const first = layers[0]!.weights
      return {
        shape: `mlp ${hidden.join('-')}`,
        parameters: layers.reduce((sum, layer) => sum + layer.weights.length + layer.biases.length, 0),
        meaning: 'norm of the weights out of each input',
        values: features.map((feature, i) => ({ feature, value: norm(first.slice(i * units, (i + 1) * units)) })),
      }
    }
    case 'prior':
      return { shape: `prior ${weights.probability}`, parameters: 1, meaning: null, values: [] }
    case 'own':
      return { shape: `own ${weights.name}`, parameters: 0, meaning: null, values: [] }
  }
}

export interface WeightsDifference {
  /** One sentence: how far apart they are as a whole. */
  readonly told: string
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
    told: distanceTold(first, second, one, two),
    onlyInFirst: first.features.filter((feature) => !second.features.includes(feature)),
    onlyInSecond: second.features.filter((feature) => !first.features.includes(feature)),
    byFeature,
  }
}

function distanceTold(first: ModelWeights, second: ModelWeights, one: WeightsSummary, two: WeightsSummary): string {
  if (JSON.stringify(first) === JSON.stringify(second)) return 'The weights are the same.'
  if (first.kind !== second.kind || one.shape !== two.shape) return `The models are ${one.shape} and ${two.shape}.`
  const [a, b] = [numbersOf(first), numbersOf(second)]
  if (a.length === 0 || a.length !== b.length) return `Both models are ${one.shape}, with other weights.`
  const share = norm(a.map((value, i) => b[i]! - value)) / norm(a)
  return `Both models are ${one.shape}; the weights differ by ${Number((100 * share).toPrecision(3))} % of their norm.`
}

function numbersOf(weights: ModelWeights): readonly number[] {
  if (weights.kind === 'logistic') return [...weights.weights, weights.intercept]
  if (weights.kind === 'mlp') return weights.layers.flatMap((layer) => [...layer.weights, ...layer.biases])
  return weights.kind === 'prior' ? [weights.probability] : []
}

function norm(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
}
