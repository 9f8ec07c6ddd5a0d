/** A model's plan in, what trains and learns it out; and weights in, what scores with them out. The only list of the kinds of models. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelPlan, ModelWeights } from '../../schemas/plan/model-plan.ts'
import { createOwn, ownScoring } from './custom.ts'
import { createLogistic, logisticScoring } from './logistic.ts'
import { createMlp } from './mlp.ts'
import { mlpScoring } from './mlp-scoring.ts'
import type { Model, Scoring } from './model.ts'
import { createPrior, priorScoring } from './prior.ts'

export function modelOf(plan: ModelPlan): Model {
  if (plan.kind === 'logistic') return createLogistic(plan)
  if (plan.kind === 'mlp') return createMlp(plan)
  if (plan.kind === 'prior') return createPrior(plan)
  return createOwn(plan)
}

/**
 * Weights of any kind score under any plan, so that a definition may change its model and the champion goes on; only weights of a
 * definition's own model need that very model. Throws `state_foreign` without it.
 */
export function scoringOf(weights: ModelWeights, plan: ModelPlan): Scoring {
  if (weights.kind === 'logistic') return logisticScoring(weights)
  if (weights.kind === 'mlp') return mlpScoring(weights)
  if (weights.kind === 'prior') return priorScoring(weights)
  if (plan.kind === 'own' && plan.own.name === weights.name) return ownScoring(weights, plan.own)
  throw new PipelineError(
    'state_foreign',
    `The version's weights belong to the definition's own model ${weights.name}, but the definition's model is ` +
      `${plan.kind === 'own' ? `the own model ${plan.own.name}` : plan.kind} now. Train a model on this definition.`,
    { details: { model: weights.name } },
  )
}
