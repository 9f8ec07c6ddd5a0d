/** The `model` member of a model file in, weights of any kind out, with every mistake noted. Called by `modelFromJson`. */
import type { LayerWeights, ModelName, ModelWeights } from '../../schemas/plan/model-plan.ts'
import { type Checks, show } from './json-checks.ts'

type Parts = Readonly<Record<string, unknown>>

const kinds: { readonly [K in ModelName]: (model: Parts, features: readonly string[], check: Checks) => ModelWeights } =
  {
    logistic: (model, features, check) => ({
      kind: 'logistic',
      features,
      ...standardising(model, features, check),
      weights: oneEach('weights', model, features, check),
      intercept: check.number(model.intercept, 'model.intercept'),
    }),
    mlp: (model, features, check) => ({
      kind: 'mlp',
      features,
      units: positiveEach('units', model, features, check),
      ...standardising(model, features, check),
      layers: layersFrom(model.layers, features.length, check),
    }),
    prior(model, features, check) {
      const probability = check.number(model.probability, 'model.probability')
      if (probability < 0 || probability > 1) check.note('model.probability', '0 to 1', `${probability}`)
      return { kind: 'prior', features, probability }
    },
    own(model, features, check) {
      const json = check.text(model.json, 'model.json')
      return { kind: 'own', name: check.text(model.name, 'model.name'), features, json }
    },
  }

export function weightsFrom(value: unknown, check: Checks): ModelWeights {
  const model = check.object(value, 'model')
  const kind = typeof model.kind === 'string' && Object.hasOwn(kinds, model.kind) ? (model.kind as ModelName) : null
  if (kind === null) {
    check.note('model.kind', `one of ${Object.keys(kinds).join(', ')}`, show(model.kind))
    return { kind: 'prior', features: [], probability: 0 }
  }
  const features = check.list(model.features, 'model.features')
  const names = features.map((entry, i) => check.text(entry, `model.features[${i}]`))
  return kinds[kind](model, names, check)
}

function standardising(model: Parts, features: readonly string[], check: Checks) {
  const means = oneEach('means', model, features, check)
  return { means, scales: positiveEach('scales', model, features, check) }
}

function positiveEach(name: string, model: Parts, features: readonly string[], check: Checks): number[] {
  const numbers = oneEach(name, model, features, check)
  numbers.forEach((number, i) => {
    if (number <= 0) check.note(`model.${name}[${i}]`, 'a positive number', `${number}`)
  })
  return numbers
}

function oneEach(name: string, model: Parts, features: readonly string[], check: Checks): number[] {
  const numbers = check.numbers(model[name], `model.${name}`)
  if (numbers.length !== features.length)
    check.note(`model.${name}`, `${features.length} values, one a feature`, `${numbers.length}`)
  return numbers
}

function layersFrom(value: unknown, width: number, check: Checks): LayerWeights[] {
  const found = check.list(value, 'model.layers')
  let inputs = width
  const layers = found.map((entry, l) => {
    const path = `model.layers[${l}]`
    const layer = check.object(entry, path)
    const weights = check.numbers(layer.weights, `${path}.weights`)
    const biases = check.numbers(layer.biases, `${path}.biases`)
    if (weights.length !== inputs * biases.length) {
      const expected = `${inputs * biases.length} values, one for each of ${inputs} inputs and ${biases.length} units`
      check.note(`${path}.weights`, expected, `${weights.length}`)
    }
    inputs = biases.length
    return { weights, biases }
  })
  if (found.length === 0 || inputs !== 1)
    check.note('model.layers', 'layers of which the last has one unit', `${inputs}`)
  return layers
}
