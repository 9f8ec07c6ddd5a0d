/**
 * What a model is handed to learn from, and what a definition's own model must give in return. Millrace's own models take the same rows
 * and options (`online-model/models/`).
 */

/** Labelled vectors. Nobody who is handed them may change them. */
export interface TrainingRows {
  /** In vector order. */
  readonly features: readonly string[]
  /** Row-major, `rowCount` × `features.length`, NaN where missing. */
  readonly rows: Float64Array
  readonly rowCount: number
  /** 0 or 1 for each row. */
  readonly labels: Uint8Array
  /** How many events each row stands for, where rows were left out; null where every row stands for itself. */
  readonly weights: Float64Array | null
}

export interface FitOptions {
  /** All randomness comes from it: the same rows and the same seed give the same weights. */
  readonly seed: number
  /** Once aborted, the fit rejects with the signal's reason, within a step. */
  readonly signal?: AbortSignal
  /** Told now and then: how much is done, 0 to 1, and a few words for people. */
  readonly onProgress?: (done: number, note: string) => void
}

/** Probability of label 1, from a vector with NaN where missing. Changes nothing. */
export type Predict = (vector: ArrayLike<number>) => number

export interface LearnerOptions<S> {
  readonly seed: number
  /** What `save` returned, to go on from there exactly; null to begin. */
  readonly state: S | null
}

/** A model that takes one labelled event at a time. */
export interface OwnLearner<W> {
  learn(vector: ArrayLike<number>, label: 0 | 1, weight: number): void
  weights(): W
  /** Everything that the next call of `learn` depends on, as JSON can carry it. */
  save(): unknown
}

/** `W` is anything that JSON carries unchanged: no NaN, no typed arrays, no dates. */
export interface OwnModelOptions<W> {
  /** Weights of one name are never handed to a model of another. */
  readonly name: string
  fit(training: TrainingRows, options: FitOptions): W | Promise<W>
  /** Called once a version; the function that it returns is called for every event. */
  predictor(weights: W, features: readonly string[]): Predict
  /** What each feature adds to the score, in vector order: the largest become the reasons of a prediction. */
  contributions?(weights: W, features: readonly string[]): (vector: ArrayLike<number>) => ArrayLike<number>
  /** Without it the model is only trained from the log. */
  learner?(features: readonly string[], options: LearnerOptions<unknown>): OwnLearner<W>
}

/** Of whatever weights: they come from its own `fit` and go to its own `predictor`. */
export type OwnModel = OwnModelOptions<unknown>
