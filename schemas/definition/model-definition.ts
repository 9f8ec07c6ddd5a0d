/** The builders of a definition's model and of how it learns: plain frozen values like all of a definition, checked by `compile`. */
import type { Duration } from '../kernel/duration.ts'
import type { LogisticPlan, MlpPlan, OwnModelPlan, PriorPlan, QualityMetric } from '../plan/model-plan.ts'
import type { OwnModelOptions } from './custom-model.ts'

export type ModelDefinition = LogisticPlan | MlpPlan | PriorPlan | OwnModelPlan

/** Logistic regression on standardised features; `l2` is the strength of the penalty (1 / C in scikit-learn's terms). */
export function logisticRegression(options: { readonly l2?: number } = {}): LogisticPlan {
  return Object.freeze({ kind: 'logistic', l2: options.l2 ?? 1 })
}

export interface MlpOptions {
  /** Units of each hidden layer, such as [64, 32]. */
  readonly hidden: readonly number[]
  /** Passes over the training rows (default 20). */
  readonly epochs?: number
  /** Rows of a mini-batch (default 512). */
  readonly batchRows?: number
  /** Step size of Adam at its highest (default 0.01). */
  readonly learningRate?: number
  /** Weight decay (default 0.1). */
  readonly l2?: number
}

/** Multilayer perceptron on standardised features. */
export function mlp(options: MlpOptions): MlpPlan {
  const { hidden, epochs = 20, batchRows = 512, learningRate = 0.01, l2 = 0.1 } = options ?? {}
  const units = Array.isArray(hidden) ? Object.freeze([...hidden]) : hidden
  return Object.freeze({ kind: 'mlp', hidden: units, epochs, batchRows, learningRate, l2 })
}

/** The share of positives for every event: the baseline. */
export function prior(): PriorPlan {
  return Object.freeze({ kind: 'prior' })
}

/** A model of your own; it is trained, versioned, promoted and audited like any other. */
export function ownModel<W>(model: OwnModelOptions<W>): OwnModelPlan {
  return Object.freeze({ kind: 'own', own: model as OwnModelOptions<unknown> })
}

export interface Better {
  readonly kind: 'better'
  readonly metric: QualityMetric
}

/** A new version is promoted where it is better than the champion by this metric, on events that neither was trained on. */
export function better(metric: QualityMetric): Better {
  return Object.freeze({ kind: 'better', metric })
}

/** Durations are event time. */
export interface LearnDefinition {
  /** Learn from every label as it ripens, and publish the weights every so often (every 6h unless told). */
  readonly continuously?: boolean | { readonly publishEvery: Duration }
  /** Train anew from the log: every so often, after so many newly ripened rows, or both; on all rows kept unless `over` says how old. */
  readonly retrain?: { readonly every?: Duration; readonly rows?: number; readonly over?: Duration }
  /** Better by average precision unless told. */
  readonly promoteIf?: Better
}
