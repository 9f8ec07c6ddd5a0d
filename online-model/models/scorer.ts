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

/** A model version ready to score vectors in the feature order it was made for. Changes nothing, awaits nothing. */
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
  requireFeatures(version.model, plan)
  const { predict, contributions } = scoringOf(version.model, plan.model)
  return {
    version: version.version,
    score: predict,
    reasons: topReasons(version.model.features, contributions, reasonsMax),
  }
}

/**
 * Whether the version can score this definition's vectors. Feature names may stay while their meaning changes, so that only the
 * fingerprint shows; weights of a definition's own model need that model as well.
 */
export function isFor(
  version: Pick<ModelVersion, 'fingerprint' | 'model'>,
  plan: { readonly fingerprint: string; readonly model: ModelPlan },
): boolean {
  if (version.fingerprint !== plan.fingerprint) return false
  return version.model.kind !== 'own' || (plan.model.kind === 'own' && plan.model.own.name === version.model.name)
}

/** The score alone. Throws as `createScorer` does. */
export function predictor(weights: ModelWeights, plan: ScoringPlan): Predict {
  requireFeatures(weights, plan)
  return scoringOf(weights, plan.model).predict
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

function requireFeatures(weights: ModelWeights, plan: ScoringPlan): void {
  const featureNames = plan.features.map(({ name }) => name)
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
