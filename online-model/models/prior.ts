/** The share of positives as the score of every event: the baseline that any other model must beat. */

import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { PriorPlan, PriorWeights } from '../../schemas/models/prior.ts'
import { openState, sealState } from './learner-state.ts'
import type { Model, ModelCode, OnlineLearner, Scoring } from './model.ts'
import { countClasses } from './training-rows.ts'

export const priorCode: ModelCode<PriorPlan, PriorWeights> = {
  title: () => 'prior',
  create: createPrior,
  scoring: priorScoring,
  summary: ({ probability }) => ({ shape: `prior ${probability}`, parameters: 1, meaning: null, values: [] }),
  numbers: ({ probability }) => [probability],
  fromJson(model, features, check) {
    const probability = check.number(model.probability, 'model.probability')
    if (probability < 0 || probability > 1) check.note('model.probability', '0 to 1', `${probability}`)
    return { kind: 'prior', features, probability }
  },
}

function createPrior(): Model {
  return {
    kind: 'prior',
    fit: async (training, { signal }) => {
      signal?.throwIfAborted()
      const { positiveWeight, negativeWeight } = countClasses(training)
      if (training.rowCount === 0) {
        throw new PipelineError('model_untrainable', 'A prior needs labelled rows, but got none.', {
          details: { rows: 0 },
        })
      }
      return {
        weights: priorWeights(training.features, positiveWeight, negativeWeight),
        note: `the share of positives of ${training.rowCount} rows`,
      }
    },
    learner: async (features, { state }) => createLearner(features, state),
  }
}

function priorWeights(features: readonly string[], positives: number, negatives: number): PriorWeights {
  const events = positives + negatives
  return { kind: 'prior', features: [...features], probability: events === 0 ? 0.5 : positives / events }
}

/** Counts are doubles: whole numbers of them are exact, in any order. */
function createLearner(features: readonly string[], state: Buffer | null): OnlineLearner {
  const owner = { kind: 'prior', features }
  const counts = Float64Array.of(0, 0)
  if (state) openState(state, owner, { counts })
  return {
    learn(_vector, label, weight = 1) {
      counts[label]! += weight
    },
    predict: () => priorWeights(features, counts[1]!, counts[0]!).probability,
    weights: () => priorWeights(features, counts[1]!, counts[0]!),
    save: () => sealState(owner, { counts }),
    close: () => undefined,
  }
}

function priorScoring({ probability }: PriorWeights): Scoring {
  return {
    predict: () => probability,
    scoreBatch(_vectors, count, scores, contributions) {
      scores.fill(probability, 0, count)
      contributions?.fill(0)
    },
  }
}
