/**
 * Weights of a model version in, synchronous scoring functions out; called by the registry follower and by replays with
 * a model file.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../schemas/errors.ts'
import type { LogisticWeights, ModelVersion } from '../schemas/plan.ts'

export interface Reason {
  readonly feature: string
  /** Weight times standardised value: what the feature adds to the log odds, against its mean. */
  readonly contribution: number
}

/** A model version ready to score vectors in the feature order it was made for. Changes nothing, awaits nothing. */
export interface Scorer {
  readonly version: string
  /** Probability of label 1, from a vector with NaN where missing. */
  score(vector: ArrayLike<number>): number
  /** The features that moved the score most, largest magnitude first; those that moved nothing are left out. */
  reasons(vector: ArrayLike<number>): Reason[]
}

/** `reasonsMax` is how many features `reasons` names. Throws `state_foreign` when the version is for other features. */
export function createScorer(
  version: Pick<ModelVersion, 'version' | 'model'>,
  featureNames: readonly string[],
  reasonsMax: number,
): Scorer {
  assert(Number.isInteger(reasonsMax) && reasonsMax >= 0)
  return {
    version: version.version,
    score: predictor(version.model, featureNames),
    reasons: topReasons(version.model, reasonsMax),
  }
}

/**
 * Flat arrays, no allocation, no await: a missing value takes the mean and so adds nothing. Throws `state_foreign` when
 * the weights are for other features than `featureNames`, or for another order of them.
 */
export function predictor(
  weights: LogisticWeights,
  featureNames: readonly string[],
): (vector: ArrayLike<number>) => number {
  requireFeatures(weights, featureNames)
  const { means, coefficients } = flatten(weights)
  const width = means.length
  const { intercept } = weights
  return (vector) => {
    if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a model of ${width}`)
    let margin = intercept
    for (let i = 0; i < width; i++) {
      const value = vector[i]!
      // Only NaN differs from itself: an inline test keeps this loop free of calls.
      // biome-ignore lint/suspicious/noSelfCompare: see above.
      if (value === value) margin += coefficients[i]! * (value - means[i]!)
    }
    return 1 / (1 + Math.exp(-margin))
  }
}

/**
 * Weight times standardised value of each feature, in vector order; 0 where missing. Their sum and the intercept are
 * the log odds. Written to `into` where one is given.
 */
export function contributions(
  weights: LogisticWeights,
): (vector: ArrayLike<number>, into?: Float64Array) => Float64Array {
  const { means, coefficients } = flatten(weights)
  const width = means.length
  return (vector, into = new Float64Array(width)) => {
    if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a model of ${width}`)
    for (let i = 0; i < width; i++) {
      const value = vector[i]!
      into[i] = Number.isNaN(value) ? 0 : coefficients[i]! * (value - means[i]!)
    }
    return into
  }
}

/** At most `reasonsMax` contributions, largest magnitude first, equal ones in vector order. */
export function topReasons(weights: LogisticWeights, reasonsMax: number): (vector: ArrayLike<number>) => Reason[] {
  const contributionsOf = contributions(weights)
  const { features } = weights
  const values = new Float64Array(features.length)
  return (vector) => {
    contributionsOf(vector, values)
    const reasons: Reason[] = []
    // A few rounds of selection over some dozen features are cheaper than a sort with its closures, and this runs for
    // every event.
    for (let round = 0; round < reasonsMax; round++) {
      let best = 0
      for (let i = 1; i < values.length; i++) if (Math.abs(values[i]!) > Math.abs(values[best]!)) best = i
      if (values.length === 0 || values[best] === 0) break
      reasons.push({ feature: features[best]!, contribution: values[best]! })
      values[best] = 0
    }
    return reasons
  }
}

function requireFeatures(weights: LogisticWeights, featureNames: readonly string[]): void {
  const length = Math.max(weights.features.length, featureNames.length)
  for (let i = 0; i < length; i++) {
    const [trained, wanted] = [weights.features[i], featureNames[i]]
    if (trained === wanted) continue
    throw new PipelineError(
      'state_foreign',
      `The model was trained on other features: feature ${i + 1} is ${trained ?? 'absent'} in the model ` +
        `and ${wanted ?? 'absent'} in the definition ` +
        `(${weights.features.length} and ${featureNames.length} features). Train a model on this definition.`,
      { details: { model: weights.features, definition: featureNames } },
    )
  }
}

function flatten(weights: LogisticWeights): { means: Float64Array; coefficients: Float64Array } {
  const { features, means, scales } = weights
  const lengths = [means.length, scales.length, weights.weights.length]
  assert(
    lengths.every((length) => length === features.length),
    `weights with ${features.length} features hold ${lengths.join(', ')} means, scales and weights`,
  )
  const coefficients = Float64Array.from(weights.weights, (weight, i) => weight / scales[i]!)
  return { means: Float64Array.from(means), coefficients }
}
