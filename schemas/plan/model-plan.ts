/** The part of the plan that learning works from, and what it makes: which model, how it learns, and the weights that a version holds. */
import type { OwnModel } from '../definition/custom-model.ts'

export type ModelPlan = LogisticPlan | MlpPlan | PriorPlan | OwnModelPlan
export type ModelName = ModelPlan['kind']

export interface LogisticPlan {
  readonly kind: 'logistic'
  /** Inverse of scikit-learn's C. */
  readonly l2: number
}

/** A multilayer perceptron: fully connected layers with rectifiers between them and one output, the log odds. */
export interface MlpPlan {
  readonly kind: 'mlp'
  /** Units of each hidden layer, input side first. */
  readonly hidden: readonly number[]
  /** Passes over the training rows. */
  readonly epochs: number
  /** Rows of a mini-batch. */
  readonly batchRows: number
  /** Step size of Adam at its highest. */
  readonly learningRate: number
  /** Weight decay: the part of every weight that each step takes away is this times the step size. */
  readonly l2: number
}

/** The share of positives, whatever the vector: what any other model must beat. */
export interface PriorPlan {
  readonly kind: 'prior'
}

export interface OwnModelPlan {
  readonly kind: 'own'
  readonly own: OwnModel
}

export const qualityMetrics = ['averagePrecision', 'auc', 'logLoss', 'brier'] as const
export type QualityMetric = (typeof qualityMetrics)[number]

/** Times are event time. */
export interface LearnPlan {
  /** A learner takes every ripened label, and its weights become a version this often; null where none does. */
  readonly continuous: { readonly publishEveryMs: number } | null
  /** A full training from the log; null where only a command starts one. At least one of `everyMs` and `rows` is set. */
  readonly retrain: RetrainPlan | null
  readonly promoteIf: { readonly metric: QualityMetric }
}

export interface RetrainPlan {
  readonly everyMs: number | null
  /** After this many newly ripened rows. */
  readonly rows: number | null
  /** Trained on what is not older than this; null for all that is kept. */
  readonly overMs: number | null
}

/** What a model version holds: plain numbers, so that a record, a file and a message between threads carry it as it is. */
export type ModelWeights = LogisticWeights | MlpWeights | PriorWeights | OwnWeights

/** Missing values take the mean, in every kind that has means. */
export interface LogisticWeights {
  readonly kind: 'logistic'
  readonly features: readonly string[]
  readonly means: readonly number[]
  readonly scales: readonly number[]
  readonly weights: readonly number[]
  readonly intercept: number
}

export interface MlpWeights {
  readonly kind: 'mlp'
  readonly features: readonly string[]
  /** An input is sign(x) · ln(1 + |x| / unit), then standardised with mean and scale. */
  readonly units: readonly number[]
  readonly means: readonly number[]
  readonly scales: readonly number[]
  /** Input side first; the last one has one unit, the log odds. Its numbers are single-precision floats. */
  readonly layers: readonly LayerWeights[]
}

export interface LayerWeights {
  /** Row-major: one row an input, one column a unit. */
  readonly weights: readonly number[]
  /** One a unit. */
  readonly biases: readonly number[]
}

export interface PriorWeights {
  readonly kind: 'prior'
  readonly features: readonly string[]
  readonly probability: number
}

export interface OwnWeights {
  readonly kind: 'own'
  /** Of the model that they belong to. */
  readonly name: string
  readonly features: readonly string[]
  /** What the model's `fit` returned. */
  readonly json: string
}
