import { describe, expect, test } from 'vitest'
import { isFor, misfitOf } from '../../online-model/models/fits.ts'
import { scoringOf } from '../../online-model/models/model-of.ts'
import { createScorer, predictor, type Reason, type Scorer } from '../../online-model/models/scorer.ts'
import { customModel, logisticRegression, prior } from '../../schemas/definition/definition.ts'
import type { LogisticWeights } from '../../schemas/models/logistic.ts'
import type { ModelPlan } from '../../schemas/models/models.ts'

const weights: LogisticWeights = {
  kind: 'logistic',
  features: ['amount', 'night', 'count'],
  means: [10, 0.5, 2],
  scales: [5, 0.5, 4],
  weights: [2, -1, 0.5],
  intercept: -0.25,
}

function planFor(names: readonly string[], model: ModelPlan = logisticRegression()) {
  return { features: names.map((name) => ({ name })), model }
}

function reasonsOf({ scoreBatch }: Scorer, vector: readonly number[]): Reason[] {
  const reasons: Reason[][] = []
  scoreBatch(Float64Array.from(vector), 1, new Float64Array(1), reasons)
  return reasons[0]!
}

describe('predictor', () => {
  test('is the logistic function of intercept plus weights times standardised values', () => {
    const score = predictor(weights, planFor(weights.features))
    // −0.25 + 2·(15−10)/5 − 1·(1−0.5)/0.5 + 0.5·(6−2)/4 = 1.25
    expect(score([15, 1, 6])).toBe(1 / (1 + Math.exp(-1.25)))
    expect(score(Float64Array.of(15, 1, 6))).toBe(1 / (1 + Math.exp(-1.25)))
  })

  test('a missing value takes the mean', () => {
    const score = predictor(weights, planFor(weights.features))
    expect(score([Number.NaN, 1, Number.NaN])).toBe(score([10, 1, 2]))
    expect(score([Number.NaN, Number.NaN, Number.NaN])).toBe(1 / (1 + Math.exp(0.25)))
  })

  test('stays a probability far out', () => {
    const score = predictor(weights, planFor(weights.features))
    expect(score([1e9, 0, 0])).toBe(1)
    expect(score([-1e9, 0, 0])).toBe(0)
  })

  test('takes its inputs by name out of a vector with more features, in another order', () => {
    const names = ['x', 'count', 'amount', 'night']
    const scorer = createScorer({ version: 'v1', model: weights }, planFor(names), 2)
    const direct = createScorer({ version: 'v1', model: weights }, planFor(weights.features), 2)
    expect(scorer.score([7, 6, 15, 1])).toBe(direct.score([15, 1, 6]))
    expect(reasonsOf(scorer, [7, 6, 15, 1])).toEqual(reasonsOf(direct, [15, 1, 6]))
    expect(predictor(weights, planFor(names))([7, 6, 15, 1])).toBe(direct.score([15, 1, 6]))
    expect(() => scorer.score([15, 1, 6])).toThrow('a vector of 3 values for a definition of 4')
  })

  test('refuses a definition without one of its features', () => {
    const expectedError = expect.objectContaining({
      code: 'state_foreign',
      message:
        'The model was trained on features that the definition is without: count. Train a model on this definition.',
    })
    expect(() => predictor(weights, planFor(['amount', 'night', 'x']))).toThrow(expectedError)
  })

  test('rejects a vector of another length and weights that are cut short', () => {
    expect(() => predictor(weights, planFor(weights.features))([1, 2])).toThrow('a vector of 2 values for a model of 3')
    expect(() => predictor({ ...weights, scales: [1] }, planFor(weights.features))).toThrow('hold 3, 1, 3 means')
  })
})

describe('reasons', () => {
  test('contributions and intercept add up to the log odds', () => {
    const contributions = new Float64Array(6)
    const scoring = scoringOf(weights, logisticRegression())
    scoring.scoreBatch(Float64Array.of(15, 1, 6, Number.NaN, 0, 2), 2, new Float64Array(2), contributions)
    expect([...contributions]).toEqual([2, -1, 0.5, 0, 1, 0])
  })

  test('name the largest magnitudes first, without those that moved nothing', () => {
    const scorer = createScorer({ version: 'v7', model: weights }, planFor(weights.features), 2)
    expect(scorer.version).toBe('v7')
    expect(scorer.score([15, 1, 6])).toBe(1 / (1 + Math.exp(-1.25)))
    expect(reasonsOf(scorer, [15, 1, 6])).toEqual([
      { feature: 'amount', contribution: 2 },
      { feature: 'night', contribution: -1 },
    ])
    // Equal magnitudes keep the vector's order.
    expect(reasonsOf(scorer, [7.5, 1, 2])).toEqual([
      { feature: 'amount', contribution: -1 },
      { feature: 'night', contribution: -1 },
    ])
    expect(reasonsOf(scorer, [Number.NaN, 0, 2])).toEqual([{ feature: 'night', contribution: 1 }])
    const silent = createScorer({ version: 'v7', model: weights }, planFor(weights.features), 0)
    expect(reasonsOf(silent, [15, 1, 6])).toEqual([])
  })
})

describe('a version', () => {
  const own = (name: string) => customModel({ name, fit: () => 0.25, predictor: (share: number) => () => share })
  const version = (name: string) => ({
    version: 'v1',
    fingerprint: 'f',
    model: { kind: 'own' as const, name, features: ['a'], json: '0.25' },
  })

  test('of another kind than the definition’s model scores all the same', () => {
    expect(predictor(weights, planFor(weights.features, prior()))([10, 0.5, 2])).toBe(1 / (1 + Math.exp(0.25)))
    expect(isFor({ fingerprint: 'f', model: weights }, { fingerprint: 'f', features: [], model: prior() })).toBe(true)
    expect(isFor({ fingerprint: 'f', model: weights }, { fingerprint: 'g', features: [], model: prior() })).toBe(false)
  })

  test('of an earlier definition scores while its features mean what they did', () => {
    const version = { fingerprint: 'f', identities: { amount: '1', night: '2', count: '3' }, model: weights }
    const planWith = (identities: Record<string, string>) => ({
      fingerprint: 'g',
      features: Object.entries(identities).map(([name, identity]) => ({ name, identity })),
      model: prior(),
    })
    expect(misfitOf(version, planWith({ x: '9', count: '3', night: '2', amount: '1' }))).toBeNull()
    expect(misfitOf(version, planWith({ amount: '1', night: '7', count: '8' }))).toBe(
      'features night, count have changed',
    )
    expect(misfitOf(version, planWith({ night: '2', count: '8' }))).toBe(
      'feature amount is gone, feature count has changed',
    )
    expect(misfitOf({ fingerprint: 'f', model: weights }, planWith({ amount: '1' }))).toBe(
      'it was trained on definition f, this one is g',
    )
  })

  test('of a definition’s own model needs that model', () => {
    expect(createScorer(version('mine'), planFor(['a'], own('mine')), 3).score([1])).toBe(0.25)
    expect(isFor(version('mine'), { fingerprint: 'f', features: [], model: own('mine') })).toBe(true)
    for (const model of [own('yours'), logisticRegression()]) {
      expect(isFor(version('mine'), { fingerprint: 'f', features: [], model })).toBe(false)
      const expectedError = expect.objectContaining({ code: 'state_foreign' })
      expect(() => createScorer(version('mine'), planFor(['a'], model), 3)).toThrow(expectedError)
    }
  })
})
