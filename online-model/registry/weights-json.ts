/** The `model` member of a model file in, weights of any kind out, with every mistake noted. Called by `modelFromJson`. */
import type { ModelName, ModelWeights } from '../../schemas/models/models.ts'
import { type Checks, show } from '../models/json-checks.ts'
import { codeOf, models } from '../models/model-of.ts'

export function weightsFrom(value: unknown, check: Checks): ModelWeights {
  const model = check.object(value, 'model')
  const kind = typeof model.kind === 'string' && Object.hasOwn(models, model.kind) ? (model.kind as ModelName) : null
  if (kind === null) {
    check.note('model.kind', `one of ${Object.keys(models).join(', ')}`, show(model.kind))
    return { kind: 'prior', features: [], probability: 0 }
  }
  const features = check.list(model.features, 'model.features')
  const names = features.map((entry, i) => check.text(entry, `model.features[${i}]`))
  return codeOf({ kind }).fromJson(model, names, check)
}
