/** All kinds of models: the only list of them in a definition and in the registry. The code of each is in `online-model/models/`. */
import { type CustomModelPlan, type CustomWeights, customKind } from './custom.ts'
import { type LogisticPlan, type LogisticWeights, logisticKind } from './logistic.ts'
import { type MlpPlan, type MlpWeights, mlpKind } from './mlp.ts'
import type { ModelKind } from './model-kind.ts'
import { type PriorPlan, type PriorWeights, priorKind } from './prior.ts'

export { customModel } from './custom.ts'
export { logisticRegression } from './logistic.ts'
export { mlp } from './mlp.ts'
export { prior } from './prior.ts'

/** What a definition requests. */
export type ModelPlan = LogisticPlan | MlpPlan | PriorPlan | CustomModelPlan

/** What a model version holds: plain numbers, so that a record, a file and a message between threads carry it as it is. */
export type ModelWeights = LogisticWeights | MlpWeights | PriorWeights | CustomWeights

export type ModelName = ModelPlan['kind']

/** In the order of the Avro union in the registry: a new kind comes last. */
export const modelKinds = {
  logistic: logisticKind,
  mlp: mlpKind,
  prior: priorKind,
  own: customKind,
} as const satisfies Record<ModelName, ModelKind>
