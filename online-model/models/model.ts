/**
 * The contract of every model: what training and learning call (`modelOf`), what scoring calls (`scoringOf`), and what a kind of model
 * implements (`ModelCode`). `model-of.ts` lists the kinds; their declarations are in `schemas/models/`.
 */

import type { Parts } from '../../schemas/kernel/report.ts'
import type { FitOptions, Predict, TrainingRows } from '../../schemas/models/custom.ts'
import type { ModelName, ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import type { Checks } from './json-checks.ts'

export type { FitOptions, Predict, TrainingRows } from '../../schemas/models/custom.ts'

export interface Model {
  readonly kind: ModelName
  /**
   * Leaves the rows as they are; the same rows and seed give the same weights. Rejects with `model_untrainable` where nothing can be
   * learnt from the rows, and with the signal's reason once that is aborted. Yields to the event loop now and then, but computes for
   * long in between: call it where nothing else waits.
   */
  fit(training: TrainingRows, options: FitOptions): Promise<Fitted>
  /** Null: the model is only trained as a whole. */
  readonly learner: ((features: readonly string[], start: LearnerStart) => Promise<OnlineLearner>) | null
}

export interface Fitted {
  readonly weights: ModelWeights
  /** A few words for people: how it was fitted. */
  readonly note: string
}

export interface LearnerStart {
  readonly seed: number
  /** What `save` returned, for the same features and plan; null to begin. Rejects with `state_foreign` where it is another's. */
  readonly state: Buffer | null
}

/** Learns from one mature label after the other, in bounded memory. Nothing in it awaits. */
export interface OnlineLearner {
  /** `weight`: how many events this one represents. */
  learn(vector: ArrayLike<number>, label: 0 | 1, weight?: number): void
  /** The score of the current weights. Changes nothing. */
  predict: Predict
  weights(): ModelWeights
  /** A learner that starts from it continues as this one does, to the last bit. */
  save(): Buffer
  close(): void
}

/** Weights made ready to score: flat arrays, no allocation, no await. */
export interface Scoring {
  readonly predict: Predict
  scoreBatch: ScoreBatch
}

/**
 * `count` vectors, one after the other, NaN where missing. Writes the score of each, the bits that `predict` gives, and, unless null, what
 * each feature adds to the log odds, against its mean; 0 where missing. Vectors are scored in their order, and scores written before
 * something is thrown stand.
 */
export type ScoreBatch = (
  vectors: Float64Array,
  count: number,
  scores: Float64Array,
  contributions: Float64Array | null,
) => void

export interface WeightsSummary {
  /** Such as `logistic` or `mlp 64-32`. */
  readonly shape: string
  /** How many numbers were learned. */
  readonly parameters: number
  /** What `values` are; null where the weights have no meaning by feature. */
  readonly meaning: string | null
  /** By feature, in vector order. */
  readonly values: ReadonlyArray<{ readonly feature: string; readonly value: number }>
}

/** A kind of model. Its plan and its weights are those of the same kind in `schemas/models/`. */
export interface ModelCode<P extends ModelPlan = ModelPlan, W extends ModelWeights = ModelWeights> {
  /** A name for people, such as `logistic regression`. */
  title(plan: P): string
  create(plan: P): Model
  /** `plan`: the definition's model, of any kind. */
  scoring(weights: W, plan: ModelPlan): Scoring
  summary(weights: W): WeightsSummary
  /** All learned numbers, so that two versions can be compared; empty where they are not known. */
  numbers(weights: W): readonly number[]
  /** The members of a model file; notes every mistake and continues. */
  fromJson(model: Parts, features: readonly string[], check: Checks): W
}
