/** Features that no training row told anything about: what comes of them later must not move a score by chance. */
import { expect, test } from 'vitest'
import { modelOf, scoringOf } from '../../../online-model/models/model-of.ts'
import { createRandom } from '../../../online-model/models/random.ts'
import { logisticRegression, mlp } from '../../../schemas/definition/definition.ts'

const features = ['a', 'b', 'new']
const plans = [logisticRegression(), mlp({ hidden: [8], epochs: 3 })]

/** The label follows from the first two features; the third is missing, or always the same. */
function training(constant: number, rowCount = 2_000) {
  const random = createRandom(5)
  const rows = Float64Array.from({ length: rowCount * 3 }, (_, at) => (at % 3 === 2 ? constant : random.next() * 10))
  const labels = Uint8Array.from({ length: rowCount }, (_, row) => (rows[row * 3]! > rows[row * 3 + 1]! + 3 ? 1 : 0))
  return { rows, labels, rowCount, features, weights: null }
}

const cases = plans.flatMap((plan) => [Number.NaN, 0.1].map((constant) => [plan.kind, constant, plan] as const))
const values = [0, 1, 50, -1e6, 1e9]

test.each(cases)('a %s that is fitted where a feature is always %d', async (_, constant, plan) => {
  const { weights } = await modelOf(plan).fit(training(constant), { seed: 1 })
  const { predict } = scoringOf(weights, plan)
  for (const value of values) expect(predict([2, 7, value])).toBeCloseTo(predict([2, 7, Number.NaN]), 6)
  expect(predict([7, 2, 1])).not.toBe(predict([2, 7, 1]))
})

test.each(cases)('a learner of a %s where a feature is always %d', async (_, constant, plan) => {
  const { rows, labels, rowCount } = training(constant)
  const learner = await modelOf(plan).learner!(features, { seed: 1, state: null })
  const learn = (third?: (row: number) => number) => {
    for (let row = 0; row < rowCount; row++) {
      const vector = Array.from(rows.subarray(row * 3, row * 3 + 3))
      if (third) vector[2] = third(row)
      learner.learn(vector, labels[row] as 0 | 1)
    }
    return scoringOf(learner.weights()!, plan).predict
  }
  const before = learn()
  for (const value of values) expect(before([2, 7, value])).toBe(before([2, 7, Number.NaN]))
  // Once it has values, it is learnt from.
  const after = learn((row) => row % 7)
  expect(after([2, 7, 6])).not.toBe(after([2, 7, 1]))
  learner.close()
})
