import { describe, expect, test } from 'vitest'
import { contributions, createScorer, predictor } from '../../online-model/scorer.ts'
import type { LogisticWeights } from '../../schemas/plan.ts'

const weights: LogisticWeights = {
  kind: 'logistic',
  features: ['amount', 'night', 'count'],
  means: [10, 0.5, 2],
  scales: [5, 0.5, 4],
  weights: [2, -1, 0.5],
  intercept: -0.25,
}

describe('predictor', () => {
  test('is the logistic function of intercept plus weights times standardised values', () => {
    const score = predictor(weights, weights.features)
    // −0.25 + 2·(15−10)/5 − 1·(1−0.5)/0.5 + 0.5·(6−2)/4 = 1.25
    expect(score([15, 1, 6])).toBe(1 / (1 + Math.exp(-1.25)))
    expect(score(Float64Array.of(15, 1, 6))).toBe(1 / (1 + Math.exp(-1.25)))
  })

  test('a missing value takes the mean', () => {
    const score = predictor(weights, weights.features)
    expect(score([Number.NaN, 1, Number.NaN])).toBe(score([10, 1, 2]))
    expect(score([Number.NaN, Number.NaN, Number.NaN])).toBe(1 / (1 + Math.exp(0.25)))
  })

  test('stays a probability far out', () => {
    const score = predictor(weights, weights.features)
    expect(score([1e9, 0, 0])).toBe(1)
    expect(score([-1e9, 0, 0])).toBe(0)
  })

  test.each([
    [['amount', 'count', 'night'], 'feature 2 is night in the model and count in the definition (3 and 3 features)'],
    [['amount', 'night'], 'feature 3 is count in the model and absent in the definition (3 and 2 features)'],
    [['amount', 'night', 'count', 'x'], 'feature 4 is absent in the model and x in the definition (3 and 4 features)'],
  ])('refuses the features %j', (names, sentence) => {
    const refusal = expect.objectContaining({
      code: 'state_foreign',
      message: `The model was trained on other features: ${sentence}. Train a model on this definition.`,
    })
    expect(() => predictor(weights, names)).toThrow(refusal)
  })

  test('refuses a vector of another length and weights that are cut short', () => {
    expect(() => predictor(weights, weights.features)([1, 2])).toThrow('a vector of 2 values for a model of 3')
    expect(() => predictor({ ...weights, scales: [1] }, weights.features)).toThrow('hold 3, 1, 3 means')
  })
})

describe('reasons', () => {
  test('contributions and intercept add up to the log odds', () => {
    expect([...contributions(weights)([15, 1, 6])]).toEqual([2, -1, 0.5])
    expect([...contributions(weights)([Number.NaN, 0, 2])]).toEqual([0, 1, 0])
  })

  test('name the largest magnitudes first, without those that moved nothing', () => {
    const scorer = createScorer({ version: 'v7', model: weights }, weights.features, 2)
    expect(scorer.version).toBe('v7')
    expect(scorer.score([15, 1, 6])).toBe(1 / (1 + Math.exp(-1.25)))
    expect(scorer.reasons([15, 1, 6])).toEqual([
      { feature: 'amount', contribution: 2 },
      { feature: 'night', contribution: -1 },
    ])
    // Equal magnitudes keep the vector's order.
    expect(scorer.reasons([7.5, 1, 2])).toEqual([
      { feature: 'amount', contribution: -1 },
      { feature: 'night', contribution: -1 },
    ])
    expect(scorer.reasons([Number.NaN, 0, 2])).toEqual([{ feature: 'night', contribution: 1 }])
    expect(createScorer({ version: 'v7', model: weights }, weights.features, 0).reasons([15, 1, 6])).toEqual([])
  })
})
