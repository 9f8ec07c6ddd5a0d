/**
 * The contract of every model: what training and learning call (`modelOf`), and what scoring calls (`scoringOf`). A model kind is data in
 * the plan and one file here.
 */

import type { FitOptions, Predict, TrainingRows } from '../../schemas/definition/custom-model.ts'
import type { ModelName, ModelWeights } from '../../schemas/plan/model-plan.ts'

export type { FitOptions, Predict, TrainingRows } from '../../schemas/definition/custom-model.ts'

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

/** Learns from one ripened label after the other, in bounded memory. Nothing in it awaits. */
export interface OnlineLearner {
  /** `weight`: how many events this one stands for. */
  learn(vector: ArrayLike<number>, label: 0 | 1, weight?: number): void
  /** What the weights as they are now say. Changes nothing. */
  predict: Predict
  weights(): ModelWeights
  /** A learner that starts from it goes on as this one does, to the last bit. */
  save(): Buffer
  close(): void
}

/** Weights made ready to score: flat arrays, no allocation, no await. */
export interface Scoring {
  readonly predict: Predict
  /** Writes what each feature adds to the log odds, against its mean; 0 where missing. */
  contributions(vector: ArrayLike<number>, into: Float64Array): void
}
