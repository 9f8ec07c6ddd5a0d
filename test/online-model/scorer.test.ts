import { describe, expect, test } from 'vitest'
import { isFor, misfitOf } from '../../online-model/models/fits.ts'
import { scoringOf } from '../../online-model/models/model-of.ts'
import { createRandom } from '../../online-model/models/random.ts'
import { createScorer, predictor, type Scorer } from '../../online-model/models/scorer.ts'
import { customModel, logisticRegression, prior } from '../../schemas/definition/definition.ts'
import type { CustomModelOptions } from '../../schemas/models/custom.ts'
import type { LogisticWeights } from '../../schemas/models/logistic.ts'
import type { MlpWeights } from '../../schemas/models/mlp.ts'
import type { ModelPlan } from '../../schemas/models/models.ts'
import { createReasonRows, reasonsOf as listReasons } from '../../schemas/wire/reason-rows.ts'
import { scalarLogistic, scalarPerceptron, scalarReasons } from './models/scalar-oracle.ts'

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

function reasonsOf({ scoreBatch }: Scorer, vector: readonly number[]) {
  const reasons = createReasonRows()
  scoreBatch(Float64Array.from(vector), 1, new Float64Array(1), reasons)
  return listReasons(reasons, 0)
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

describe('a batch', () => {
  const random = createRandom(3)
  const names = Array.from({ length: 7 }, (_, i) => `f${i}`)
  const logistic: LogisticWeights = {
    kind: 'logistic',
    features: names,
    means: names.map(() => random.normal()),
    scales: names.map(() => 0.1 + random.next()),
    weights: names.map(() => random.normal()),
    intercept: -0.5,
  }
  const perceptron: MlpWeights = {
    kind: 'mlp',
    features: names,
    units: names.map(() => 0.1 + random.next()),
    means: logistic.means,
    scales: logistic.scales,
    layers: [
      { weights: Array.from({ length: 35 }, () => random.normal()), biases: [0.1, -0.2, 0, 0.3, -0.1] },
      { weights: Array.from({ length: 5 }, () => random.normal()), biases: [-1] },
    ],
  }
  const count = 700
  /** Values that are missing, that are 0, and some that are equal. */
  const drawValue = () => [Number.NaN, 0, 1, 2, random.normal()][random.below(5)]!

  test.each([
    ['logistic regression', logistic, scalarLogistic(logistic)],
    ['perceptron', perceptron, scalarPerceptron(perceptron)],
  ] as const)(
    'of a %s gives the scores and reasons that single vectors gave before, bit for bit',
    (_, model, before) => {
      for (const features of [names, ['x', ...names.toReversed(), 'y']]) {
        const width = features.length
        const scorer = createScorer({ version: 'v1', model }, planFor(features), 3)
        const vectors = Float64Array.from({ length: count * width }, drawValue)
        const [scores, reasons] = [new Float64Array(count), createReasonRows()]
        scorer.scoreBatch(vectors, count, scores, reasons)
        const scoresAlone = new Float64Array(count)
        scorer.scoreBatch(vectors, count, scoresAlone, null)
        const contributions = new Float64Array(names.length)
        for (let row = 0; row < count; row++) {
          const vector = vectors.slice(row * width, (row + 1) * width)
          const inputs = names.map((name) => vector[features.indexOf(name)]!)
          before.contributions(inputs, contributions)
          expect(scores[row]).toBe(before.predict(inputs))
          expect(scorer.score(vector)).toBe(scores[row])
          expect(listReasons(reasons, row)).toEqual(scalarReasons(names, contributions, 3))
        }
        expect([...scoresAlone]).toEqual([...scores])
      }
    },
  )

  test('of another size than it says is refused', () => {
    const scorer = createScorer({ version: 'v1', model: logistic }, planFor(names), 3)
    expect(() => scorer.scoreBatch(new Float64Array(13), 2, new Float64Array(2), null)).toThrow(
      '13 values for 2 vectors of 7',
    )
  })

  const ownScorer = (options: Pick<CustomModelOptions<number>, 'predictor' | 'contributions'>) => {
    const model = customModel({ name: 'mine', fit: () => 0.25, ...options })
    const weights = { kind: 'own' as const, name: 'mine', features: ['a', 'b'], json: '0.25' }
    return createScorer({ version: 'v1', model: weights }, planFor(['a', 'b'], model), 1)
  }

  test('of a definition’s own model asks it for one vector after the other, which it may keep', () => {
    const kept: Array<ArrayLike<number>> = []
    const scorer = ownScorer({
      predictor: (share) => (vector) => {
        kept.push(vector)
        return share + vector[0]! / 100
      },
      contributions: () => (vector) => [vector[0]!, vector[1]!],
    })
    const vectors = Float64Array.of(1, 2, 3, -4)
    const [scores, reasons] = [new Float64Array(2), createReasonRows()]
    scorer.scoreBatch(vectors, 2, scores, reasons)
    vectors.fill(0)
    expect([...scores]).toEqual([0.26, 0.28])
    expect([0, 1].map((row) => listReasons(reasons, row))).toEqual([
      [{ feature: 'b', contribution: 2 }],
      [{ feature: 'b', contribution: -4 }],
    ])
    expect(kept).toEqual([Float64Array.of(1, 2), Float64Array.of(3, -4)])
  })

  test('of a definition’s own model ends at the answer that is no probability, and says for which vector', () => {
    const scorer = ownScorer({ predictor: () => (vector) => vector[0]! })
    const scores = new Float64Array(3).fill(Number.NaN)
    expect(() => scorer.scoreBatch(Float64Array.of(0.5, 1, 7, 2, 0.5, 3), 3, scores, null)).toThrow(
      "The definition's own model mine answered 7 for (7, 2); expected a probability from 0 to 1.",
    )
    expect([...scores]).toEqual([0.5, Number.NaN, Number.NaN])
  })

  test.each([[[1]], [[1, 2, 3]]])('of a definition’s own model refuses contributions %j for two features', (given) => {
    const scorer = ownScorer({ predictor: (share) => () => share, contributions: () => () => given })
    expect(() => scorer.scoreBatch(Float64Array.of(1, 2), 1, new Float64Array(1), createReasonRows())).toThrow(
      `The definition's own model mine gave ${given.length} contributions for a vector of 2 features; expected one for each.`,
    )
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
