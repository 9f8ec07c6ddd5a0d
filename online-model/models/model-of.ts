/** A model's plan in, what trains and learns it out; and weights in, what scores with them out. The only list of the code of all kinds. */
import type { ModelName, ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import { customCode } from './custom.ts'
import { logisticCode } from './logistic.ts'
import { mlpCode } from './mlp.ts'
import type { Model, ModelCode, Scoring } from './model.ts'
import { priorCode } from './prior.ts'

type OfKind<T, K> = Extract<T, { readonly kind: K }>

export const models = {
  logistic: logisticCode,
  mlp: mlpCode,
  prior: priorCode,
  own: customCode,
} as const satisfies { readonly [K in ModelName]: ModelCode<OfKind<ModelPlan, K>, OfKind<ModelWeights, K>> }

/** The kinds are distinguished here and nowhere else: what a kind is given is of that kind. */
export function codeOf({ kind }: { readonly kind: ModelName }): ModelCode {
  return models[kind]
}

export function modelOf(plan: ModelPlan): Model {
  return codeOf(plan).create(plan)
}

/**
 * Weights of any kind score under any plan, so that a definition may change its model and the champion continues; only weights of a
 * custom model need that very model. Throws `state_foreign` without it.
 */
export function scoringOf(weights: ModelWeights, plan: ModelPlan): Scoring {
  return codeOf(weights).scoring(weights, plan)
}
