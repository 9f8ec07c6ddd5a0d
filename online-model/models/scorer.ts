/**
 * Weights of a model version in, synchronous scoring functions out; called by the registry follower and by replays with
 * a model file.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { Predict, Scoring } from './model.ts'
import { scoringOf } from './model-of.ts'

export interface Reason {
  readonly feature: string
  /** What the feature adds to the log odds, against its mean: gradient times standardised value. */
  readonly contribution: number
}

/** A model version ready to score the vectors of a definition. Changes nothing, awaits nothing. */
export interface Scorer {
  readonly version: string
  /** Probability of label 1, from a vector with NaN where missing. */
  score(vector: ArrayLike<number>): number
  /** The features that moved the score most, largest magnitude first; those that moved nothing are left out. */
  reasons(vector: ArrayLike<number>): Reason[]
}

export type ScoringPlan = {
  readonly features: ReadonlyArray<{ readonly name: string }>
  readonly model: ModelPlan
}

/**
 * `reasonsMax` is how many features `reasons` names. Throws `state_foreign` when the version is for other features, or for a model of a
 * definition's own that this one is without.
 */
export function createScorer(
  version: Pick<ModelVersion, 'version' | 'model'>,
  plan: ScoringPlan,
  reasonsMax: number,
): Scorer {
  assert(Number.isInteger(reasonsMax) && reasonsMax >= 0)
  const inputsOf = inputsFor(version.model, plan)
  const { predict, contributions } = scoringOf(version.model, plan.model)
  return {
    version: version.version,
    score: (vector) => predict(inputsOf(vector)),
    reasons: topReasons(version.model.features, (vector, into) => contributions(inputsOf(vector), into), reasonsMax),
  }
}

/** The score alone. Throws as `createScorer` does. */
export function predictor(weights: ModelWeights, plan: ScoringPlan): Predict {
  const inputsOf = inputsFor(weights, plan)
  const { predict } = scoringOf(weights, plan.model)
  return (vector) => predict(inputsOf(vector))
}

/** At most `reasonsMax` contributions, largest magnitude first, equal ones in vector order. */
function topReasons(
  features: readonly string[],
  contributions: Scoring['contributions'],
  reasonsMax: number,
): Scorer['reasons'] {
  const values = new Float64Array(features.length)
  return (vector) => {
    const reasons: Reason[] = []
    if (reasonsMax === 0) return reasons
    contributions(vector, values)
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

type Inputs = (vector: ArrayLike<number>) => ArrayLike<number>

/** The values that a model takes out of a definition's vector, by name: the definition may have more features, in another order. */
function inputsFor(weights: ModelWeights, plan: ScoringPlan): Inputs {
  const names = plan.features.map(({ name }) => name)
  const missing = weights.features.filter((name) => !names.includes(name))
  if (missing.length > 0) {
    throw new PipelineError(
      'state_foreign',
      `The model was trained on features that the definition is without: ${missing.join(', ')}. Train a model on this definition.`,
      { details: { model: weights.features, definition: names } },
    )
  }
  if (names.length === weights.features.length && names.every((name, i) => name === weights.features[i]))
    return (vector) => vector
  const columns = weights.features.map((name) => names.indexOf(name))
  const values = new Float64Array(columns.length)
  return (vector) => {
    assert(vector.length === names.length, `a vector of ${vector.length} values for a definition of ${names.length}`)
    for (let i = 0; i < columns.length; i++) values[i] = vector[columns[i]!]!
    return values
  }
}
