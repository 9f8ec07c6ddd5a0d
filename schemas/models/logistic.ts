/** Logistic regression in a definition: its builder, its checks, and the weights that a version holds. */
import { checkNotNegative } from '../kernel/report.ts'
import { listOf, type ModelKind } from './model-kind.ts'

export interface LogisticPlan {
  readonly kind: 'logistic'
  /** Inverse of scikit-learn's C. */
  readonly l2: number
}

/** A missing value takes the mean. */
export interface LogisticWeights {
  readonly kind: 'logistic'
  readonly features: readonly string[]
  readonly means: readonly number[]
  readonly scales: readonly number[]
  readonly weights: readonly number[]
  readonly intercept: number
}

/** Logistic regression on standardised features; `l2` is the strength of the penalty (1 / C in scikit-learn's terms). */
export function logisticRegression(options: { readonly l2?: number } = {}): LogisticPlan {
  return Object.freeze({ kind: 'logistic', l2: options.l2 ?? 1 })
}

export const logisticKind: ModelKind = {
  builder: 'logisticRegression()',
  check: ({ l2 }, report) => checkNotNegative('model.l2', l2, report),
  weightsFields: (namespace) => ({
    // Written since before there were other kinds.
    kind: { type: 'enum', name: 'logistic_kind', namespace, symbols: ['logistic'] },
    features: listOf('string'),
    means: listOf('double'),
    scales: listOf('double'),
    weights: listOf('double'),
    intercept: 'double',
  }),
}
