/** Logistic regression in a definition: its builder, its checks, and the weights that a version holds. */
import { checkNotNegative } from '../kernel/report.ts'
import { namesOf, optionsIn, type Stray, strayIn } from '../kernel/stray-options.ts'
import { listOf, type ModelKind } from './model-kind.ts'

export interface LogisticPlan extends Stray {
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

export interface LogisticOptions {
  /** Strength of the penalty: 1 / C in scikit-learn's terms (default 1). */
  readonly l2?: number
}

const logisticOptions = namesOf<LogisticOptions>({ l2: true })

/** Logistic regression on standardised features. */
export function logisticRegression(options: LogisticOptions = {}): LogisticPlan {
  const { l2 = 1 } = optionsIn(options)
  return Object.freeze({ kind: 'logistic', l2, ...strayIn(options, logisticOptions) })
}

export const logisticKind: ModelKind = {
  builder: 'logisticRegression()',
  options: logisticOptions,
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
