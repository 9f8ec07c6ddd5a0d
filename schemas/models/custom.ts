/**
 * A model of the user's own in a definition: what it is given to learn from and what it must return, its builder, its checks, and the
 * weights that a version holds. Millrace's own models take the same rows and options (`online-model/models/`). On the wire its kind is
 * called `own`.
 */
import { isRecord, type Parts, type Report } from '../kernel/report.ts'
import { checkKeys, namesOf } from '../kernel/stray-options.ts'
import { listOf, type ModelKind } from './model-kind.ts'

/** Labelled vectors. Read-only for every receiver. */
export interface TrainingRows {
  /** In vector order. */
  readonly features: readonly string[]
  /** Row-major, `rowCount` × `features.length`, NaN where missing. */
  readonly rows: Float64Array
  readonly rowCount: number
  /** 0 or 1 for each row. */
  readonly labels: Uint8Array
  /** How many events each row represents, where rows were sampled; null where each represents one. */
  readonly weights: Float64Array | null
}

export interface FitOptions {
  /** All randomness comes from it: the same rows and the same seed give the same weights. */
  readonly seed: number
  /** Once aborted, the fit rejects with the signal's reason, within a step. */
  readonly signal?: AbortSignal
  /** Called now and then with the fraction done, 0 to 1, and a short text to display. */
  readonly onProgress?: (done: number, note: string) => void
}

/** Probability of label 1, from a vector with NaN where missing. Changes nothing. */
export type Predict = (vector: ArrayLike<number>) => number

export interface LearnerOptions<S> {
  readonly seed: number
  /** What `save` returned, to continue exactly from there; null to start. */
  readonly state: S | null
}

/** A model that takes one labelled event at a time. */
export interface CustomLearner<W> {
  learn(vector: ArrayLike<number>, label: 0 | 1, weight: number): void
  weights(): W
  /** Everything that the next call of `learn` depends on, as JSON can carry it. */
  save(): unknown
}

/** `W` is anything that JSON carries unchanged: no NaN, no typed arrays, no dates. */
export interface CustomModelOptions<W> {
  /** Weights of one name are never handed to a model of another. */
  readonly name: string
  /** The weights, from labelled rows. */
  fit(training: TrainingRows, options: FitOptions): W | Promise<W>
  /** Called once a version; the function that it returns is called for every event. */
  predictor(weights: W, features: readonly string[]): Predict
  /** What each feature adds to the score, one number a feature in vector order: the largest become the reasons of a prediction. */
  contributions?(weights: W, features: readonly string[]): (vector: ArrayLike<number>) => ArrayLike<number>
  /** Without it the model is only trained from the log. */
  learner?(features: readonly string[], options: LearnerOptions<unknown>): CustomLearner<W>
}

/** For weights of any type: its own `fit` returns them and its own `predictor` takes them. */
export type CustomModel = CustomModelOptions<unknown>

export interface CustomModelPlan {
  readonly kind: 'own'
  readonly own: CustomModel
}

export interface CustomWeights {
  readonly kind: 'own'
  /** Of the model that they belong to. */
  readonly name: string
  readonly features: readonly string[]
  /** What the model's `fit` returned. */
  readonly json: string
}

/** A model of your own; it is trained, versioned, promoted and audited like any other. */
export function customModel<W>(model: CustomModelOptions<W>): CustomModelPlan {
  return Object.freeze({ kind: 'own', own: model as CustomModelOptions<unknown> })
}

export const customKind: ModelKind = {
  builder: 'customModel()',
  options: ['own'],
  check: checkCustom,
  weightsFields: () => ({ name: 'string', features: listOf('string'), json: 'string' }),
}

const customOptions = namesOf<CustomModel>({
  name: true,
  fit: true,
  predictor: true,
  contributions: true,
  learner: true,
})

function checkCustom({ own }: Parts, report: Report): void {
  if (!isRecord(own)) {
    report('model', 'customModel({ name, fit, predictor })', own)
    return
  }
  checkKeys('model', 'customModel()', customOptions, own, report)
  if (typeof own.name !== 'string' || !/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(own.name))
    report('model.name', 'letters, digits, dashes and underscores that begin with a letter, at most 64', own.name)
  for (const part of ['fit', 'predictor']) {
    if (typeof own[part] !== 'function') report(`model.${part}`, 'a function', own[part])
  }
  for (const part of ['contributions', 'learner']) {
    if (own[part] !== undefined && typeof own[part] !== 'function') report(`model.${part}`, 'a function', own[part])
  }
}
