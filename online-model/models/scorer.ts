/**
 * Weights of a model version in, synchronous scoring functions out; called by the registry follower and by replays with
 * a model file.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import { firstReasonOf, type ReasonRows, reserveReasons } from '../../schemas/wire/reason-rows.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { Predict, ScoreBatch } from './model.ts'
import { scoringOf } from './model-of.ts'

/** A model version ready to score the vectors of a definition. Changes nothing, awaits nothing. */
export interface Scorer {
  readonly version: string
  /** Probability of label 1, from a vector with NaN where missing. */
  score(vector: ArrayLike<number>): number
  /**
   * The scores of `vectors`, which holds `count` of them one after the other, with the bits that `score` gives. To `reasons`, unless null,
   * are added of each the features that moved the score most with what each adds to the log odds against its mean (gradient times
   * standardised value), largest magnitude first; those that moved nothing are left out. Scores written before something is thrown stand.
   */
  scoreBatch(vectors: Float64Array, count: number, scores: Float64Array, reasons: ReasonRows | null): void
}

export type ScoringPlan = {
  readonly features: ReadonlyArray<{ readonly name: string }>
  readonly model: ModelPlan
}

/**
 * `reasonsMax` is how many features a vector's reasons name. Throws `state_foreign` when the version is for other features, or for a model
 * of a definition's own that this one is without.
 */
export function createScorer(
  version: Pick<ModelVersion, 'version' | 'model'>,
  plan: ScoringPlan,
  reasonsMax: number,
): Scorer {
  assert(Number.isInteger(reasonsMax) && reasonsMax >= 0)
  const { features } = version.model
  const columns = columnsOf(version.model, plan)
  const scoring = scoringOf(version.model, plan.model)
  const predict = withColumns(scoring.predict, columns, plan)
  const inputsOf = batchInputs(columns, plan.features.length)
  return {
    version: version.version,
    score: predict,
    scoreBatch: withReasons(features, reasonsMax, (vectors, count, scores, contributions) =>
      scoring.scoreBatch(inputsOf(vectors, count), count, scores, contributions),
    ),
  }
}

/** The score alone. Throws as `createScorer` does. */
export function predictor(weights: ModelWeights, plan: ScoringPlan): Predict {
  const columns = columnsOf(weights, plan)
  return withColumns(scoringOf(weights, plan.model).predict, columns, plan)
}

function withReasons(features: readonly string[], reasonsMax: number, scoreBatch: ScoreBatch): Scorer['scoreBatch'] {
  let contributions = new Float64Array(0)
  return (vectors, count, scores, reasons) => {
    if (reasons === null) {
      scoreBatch(vectors, count, scores, null)
      return
    }
    reserveReasons(reasons, count, reasonsMax)
    reasons.names = features
    if (reasonsMax > 0) contributions = atLeast(contributions, count * features.length)
    scoreBatch(vectors, count, scores, reasonsMax > 0 ? contributions : null)
    for (let row = 0; row < count; row++) addTopReasons(reasons, contributions, row, reasonsMax)
  }
}

/** At most `reasonsMax` contributions of a row, largest magnitude first, equal ones in vector order. What it takes becomes 0. */
function addTopReasons(reasons: ReasonRows, contributions: Float64Array, row: number, reasonsMax: number): void {
  const width = reasons.names.length
  const from = row * width
  let end = firstReasonOf(reasons, reasons.count)
  // A few rounds of selection over some dozen features are cheaper than a sort with its closures, and this runs for
  // every event.
  for (let round = 0; round < reasonsMax; round++) {
    let best = 0
    let magnitude = 0
    for (let i = 0; i < width; i++) {
      const other = Math.abs(contributions[from + i]!)
      if (other > magnitude) {
        best = i
        magnitude = other
      }
    }
    if (magnitude === 0) break
    reasons.features[end] = best
    reasons.contributions[end++] = contributions[from + best]!
    contributions[from + best] = 0
  }
  reasons.ends[reasons.count++] = end
}

/** The same array while it is long enough: batches are bounded by those who score them. */
function atLeast(values: Float64Array, length: number): Float64Array<ArrayBuffer> {
  return values.length >= length ? (values as Float64Array<ArrayBuffer>) : new Float64Array(length)
}

/**
 * Of each of a model's features its place in a definition's vector, found by name: the definition may have more features, in another order.
 * Null where the model takes the vector as it is.
 */
function columnsOf(weights: ModelWeights, plan: ScoringPlan): readonly number[] | null {
  const names = plan.features.map(({ name }) => name)
  const missing = weights.features.filter((name) => !names.includes(name))
  if (missing.length > 0) {
    throw new PipelineError(
      'state_foreign',
      `The model was trained on features that the definition is without: ${missing.join(', ')}. Train a model on this definition.`,
      { details: { model: weights.features, definition: names } },
    )
  }
  if (names.length === weights.features.length && names.every((name, i) => name === weights.features[i])) return null
  return weights.features.map((name) => names.indexOf(name))
}

function withColumns(predict: Predict, columns: readonly number[] | null, plan: ScoringPlan): Predict {
  if (columns === null) return predict
  const width = plan.features.length
  const values = new Float64Array(columns.length)
  return (vector) => {
    assert(vector.length === width, `a vector of ${vector.length} values for a definition of ${width}`)
    for (let i = 0; i < columns.length; i++) values[i] = vector[columns[i]!]!
    return predict(values)
  }
}

/** The inputs of a model out of the vectors of a batch; `width` is that of the vectors. */
function batchInputs(
  columns: readonly number[] | null,
  width: number,
): (vectors: Float64Array, count: number) => Float64Array {
  let inputs = new Float64Array(0)
  return (vectors, count) => {
    assert(vectors.length === count * width, `${vectors.length} values for ${count} vectors of ${width}`)
    if (columns === null) return vectors
    inputs = atLeast(inputs, count * columns.length)
    for (let row = 0, at = 0; row < count; row++)
      for (let i = 0; i < columns.length; i++) inputs[at++] = vectors[row * width + columns[i]!]!
    return inputs
  }
}
