import { describe, expect, test } from 'vitest'
import {
  better,
  customModel,
  type Definition,
  definePipeline,
  type Features,
  logisticRegression,
  mlp,
  prior,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { durations, mistakes } from './mistakes.ts'
import { sound } from './shop-definition.ts'

const mine = { name: 'mine', fit: () => 0.5, predictor: (share: number) => () => share }
const planOf = (change: Partial<Definition<Features>>) => compile(definePipeline({ ...sound, ...change }))

describe('a model', () => {
  test('comes into the plan with all that it leaves unsaid', () => {
    expect(planOf({ model: prior() }).model).toEqual({ kind: 'prior' })
    expect(planOf({ model: logisticRegression() }).model).toEqual({ kind: 'logistic', l2: 1 })
    expect(planOf({ model: mlp({ hidden: [64, 32] }) }).model).toEqual({
      kind: 'mlp',
      hidden: [64, 32],
      epochs: expect.any(Number),
      batchRows: expect.any(Number),
      learningRate: expect.any(Number),
      l2: expect.any(Number),
    })
    const options = { hidden: [3], epochs: 1, batchRows: 2, learningRate: 0.5, l2: 0 }
    expect(planOf({ model: mlp(options) }).model).toEqual({ kind: 'mlp', ...options })
    expect(planOf({ model: customModel(mine) }).model).toEqual({ kind: 'own', own: mine })
  })

  test.each([
    [{ hidden: [] }, 'model.hidden: expected 1 to 8 hidden layers, received 0'],
    [{ hidden: 64 }, 'model.hidden: expected the units of each hidden layer, such as [64, 32], received 64'],
    [{}, 'model.hidden: expected the units of each hidden layer, such as [64, 32], received nothing'],
    [{ hidden: [64, 0.5] }, 'model.hidden[1]: expected a whole number from 1 to 4096, received 0.5'],
    [{ hidden: [64], epochs: 0 }, 'model.epochs: expected a whole number from 1 to 10000, received 0'],
    [{ hidden: [64], batchRows: '9' }, 'model.batchRows: expected a whole number from 1 to 1048576, received 9'],
    [{ hidden: [64], learningRate: 0 }, 'model.learningRate: expected a number above 0 and up to 1, received 0'],
    [{ hidden: [64], l2: -1 }, 'model.l2: expected a number >= 0, received -1'],
  ])('mlp(%j)', (options, mistake) => {
    expect(mistakes({ model: mlp(options as never) })).toEqual([mistake])
  })

  test.each([
    [
      { ...mine, name: '' },
      'model.name',
      'letters, digits, dashes and underscores that begin with a letter, at most 64',
    ],
    [{ ...mine, fit: 1 }, 'model.fit', 'a function'],
    [{ ...mine, predictor: undefined }, 'model.predictor', 'a function'],
    [{ ...mine, learner: {} }, 'model.learner', 'a function'],
    [undefined, 'model', 'customModel({ name, fit, predictor })'],
  ])('customModel(%o)', (options, path, expected) => {
    const [mistake, ...more] = mistakes({ model: customModel(options as never) })
    expect(mistake).toMatch(`${path}: expected ${expected}, received`)
    expect(more).toEqual([])
  })
})

describe('learning', () => {
  const nothing = { continuous: null, retrain: null, promoteIf: { metric: 'averagePrecision' } }

  test('comes into the plan with all that it leaves unsaid', () => {
    expect(planOf({}).learn).toEqual(nothing)
    expect(planOf({ learn: {} }).learn).toEqual(nothing)
    expect(planOf({ learn: { continuously: false } }).learn).toEqual(nothing)
    expect(planOf({ learn: { continuously: true, retrain: { every: '1d' } } }).learn).toEqual({
      continuous: { publishEveryMs: 6 * 3_600_000 },
      retrain: { everyMs: 86_400_000, rows: null, overMs: null },
      promoteIf: { metric: 'averagePrecision' },
    })
    const learn = {
      continuously: { publishEvery: '90s' },
      retrain: { rows: 1_000, over: '28d' },
      promoteIf: better('brier'),
    } as const
    expect(planOf({ learn }).learn).toEqual({
      continuous: { publishEveryMs: 90_000 },
      retrain: { everyMs: null, rows: 1_000, overMs: 28 * 86_400_000 },
      promoteIf: { metric: 'brier' },
    })
  })

  test('and the model change no fingerprint', () => {
    const { fingerprint, stateFingerprint } = planOf({})
    const other = planOf({ model: mlp({ hidden: [8] }), learn: { continuously: true } })
    expect([other.fingerprint, other.stateFingerprint]).toEqual([fingerprint, stateFingerprint])
  })

  test.each([
    ['often', 'learn: expected continuously, retrain and promoteIf, each where wanted, received often'],
    [
      { continously: true },
      'learn.continously: expected an option of learn: continuously, retrain or promoteIf; the nearest is continuously, received true',
    ],
    [{ continuously: 1 }, 'learn.continuously: expected true, false or { publishEvery }, received 1'],
    [{ continuously: {} }, `learn.continuously.publishEvery: expected ${durations}, received nothing`],
    [{ continuously: { publishEvery: '0s' } }, 'learn.continuously.publishEvery: expected longer than 0s, received 0s'],
    [{ retrain: 'daily' }, 'learn.retrain: expected every, rows and over, each where wanted, received daily'],
    [{ retrain: { over: '28d' } }, 'learn.retrain: expected every, rows or both, received neither'],
    [{ retrain: { every: 'day' } }, `learn.retrain.every: expected ${durations}, received day`],
    [{ retrain: { rows: 0 } }, 'learn.retrain.rows: expected a whole number from 1 to 1000000000, received 0'],
    [{ retrain: { rows: 5, over: '0d' } }, 'learn.retrain.over: expected longer than 0s, received 0d'],
    [{ promoteIf: 'auc' }, 'learn.promoteIf: expected better(metric), received auc'],
    [
      { promoteIf: better('f1' as never) },
      'learn.promoteIf: expected better() of averagePrecision, auc, logLoss or brier, received f1',
    ],
  ])('%j', (learn, mistake) => {
    expect(mistakes({ learn })).toEqual([mistake])
  })

  test('continuously needs a model that can', () => {
    const learn = { continuously: true }
    expect(mistakes({ model: customModel(mine), learn })).toEqual([
      'learn.continuously: expected a model with a learner, received customModel() without one',
    ])
    const learner = () => ({ learn: () => undefined, weights: () => 0.5, save: () => 0.5 })
    expect(mistakes({ model: customModel({ ...mine, learner }), learn })).toEqual([])
    for (const model of [logisticRegression(), mlp({ hidden: [4] }), prior()])
      expect(mistakes({ model, learn })).toEqual([])
  })
})
