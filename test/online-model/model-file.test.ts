import { describe, expect, test } from 'vitest'
import { modelFromJson, modelToJson } from '../../online-model/registry/model-file.ts'
import type { ModelWeights } from '../../schemas/models/models.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'

const version: ModelVersion = {
  kind: 'version',
  version: 'v3',
  createdAtMs: 1_700_000_000_000,
  fingerprint: 'print',
  seed: 42,
  model: {
    kind: 'logistic',
    features: ['a', 'b'],
    means: [0.1, 1 / 3],
    scales: [1, Number.MIN_VALUE],
    weights: [-1e-300, Math.PI],
    intercept: -0.1 - 0.2,
  },
  metrics: { rows: 10, averagePrecision: 0.7 },
  trainedOn: [{ topic: 'p', partition: 1, offset: 99 }],
  parent: 'v2',
  origin: 'continuous',
}

function mistakesOf(change: (draft: Record<string, unknown>) => void): string {
  const draft = JSON.parse(modelToJson(version)) as Record<string, unknown>
  change(draft)
  try {
    modelFromJson(JSON.stringify(draft), 'model.json')
  } catch (error) {
    expect(error).toMatchObject({ code: 'input_unreadable' })
    return (error as Error).message
  }
  return 'accepted'
}

describe('model file', () => {
  test('out and in again is the same version, bit for bit', () => {
    expect(modelFromJson(modelToJson(version), 'model.json')).toEqual(version)
    expect(modelToJson(version)).toMatch(/^\{\n {2}"format": "millrace-model\/1",\n {2}"kind": "version",/)
  })

  test('names every mistake at once', () => {
    expect(
      mistakesOf((draft) => {
        draft.format = 'other'
        draft.version = ''
        draft.seed = '42'
        draft.metrics = { auc: null }
        draft.trainedOn = [{ topic: 'p', partition: 1 }]
        draft.model = { ...version.model, means: [0.1], scales: [1, 0], intercept: null }
      }),
    ).toBe(
      'model.json is no model file: format: expected "millrace-model/1", received "other"; ' +
        'version: expected text, received ""; seed: expected a finite number, received "42"; ' +
        'model.means: expected 2 values, one a feature, received 1; ' +
        'model.scales[1]: expected a positive number, received 0; ' +
        'model.intercept: expected a finite number, received null; ' +
        'metrics.auc: expected a finite number, received null; ' +
        'trainedOn[0].offset: expected a finite number, received nothing.',
    )
  })

  const names = { features: ['a', 'b'] }
  const layers = [
    { weights: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6].map(Math.fround), biases: [1, 2, 3] },
    { weights: [-1, 0, 1], biases: [0.25] },
  ]
  const mlp = { kind: 'mlp' as const, ...names, units: [1, 0.5], means: [0, 1], scales: [1, 3], layers }

  test.each<[string, ModelWeights]>([
    ['mlp', mlp],
    ['prior', { kind: 'prior', ...names, probability: 1 / 3 }],
    ['own', { kind: 'own', name: 'mine', ...names, json: '{"a":[0.1,"x"]}' }],
  ])('carries the weights of %s', (_, model) => {
    expect(modelFromJson(modelToJson({ ...version, model }), 'model.json').model).toEqual(model)
  })

  test.each<[unknown, string]>([
    [
      { ...mlp, layers: [layers[0], { weights: [1], biases: [1, 2] }] },
      'model.layers[1].weights: expected 6 values, one for each of 3 inputs and 2 units, received 1; ' +
        'model.layers: expected layers of which the last has one unit, received 2',
    ],
    [{ ...mlp, layers: [] }, 'model.layers: expected layers of which the last has one unit, received 2'],
    [{ ...mlp, scales: [0, 1] }, 'model.scales[0]: expected a positive number, received 0'],
    [{ kind: 'prior', ...names, probability: 2 }, 'model.probability: expected 0 to 1, received 2'],
    [{ kind: 'own', ...names, json: '1' }, 'model.name: expected text, received nothing'],
  ])('names mistakes of %j', (model, mistakes) => {
    expect(
      mistakesOf((draft) => {
        draft.model = model
      }),
    ).toBe(`model.json is no model file: ${mistakes}.`)
  })

  test('rejects another kind of model and other shapes', () => {
    expect(
      mistakesOf((draft) => {
        draft.model = { ...version.model, kind: 'forest' }
      }),
    ).toBe('model.json is no model file: model.kind: expected one of logistic, mlp, prior, own, received "forest".')
    expect(() => modelFromJson('[]', 'x.json')).toThrow('x.json is no model file: expected a JSON object, received [].')
    expect(() => modelFromJson('{', 'x.json')).toThrow(/^x\.json is no model file: it is not JSON \(/)
  })
})
