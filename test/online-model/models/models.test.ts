/** What every kind of model promises, over all of them. */
import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test } from 'vitest'
import type { OnlineLearner, TrainingRows } from '../../../online-model/models/model.ts'
import { modelOf, scoringOf } from '../../../online-model/models/model-of.ts'
import { createScorer, type Scorer } from '../../../online-model/models/scorer.ts'
import { modelFromJson, modelToJson } from '../../../online-model/registry/model-file.ts'
import { customModel, logisticRegression, mlp, prior } from '../../../schemas/definition/definition.ts'
import type { ModelPlan, ModelWeights } from '../../../schemas/models/models.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { createReasonRows, reasonsOf as listReasons } from '../../../schemas/wire/reason-rows.ts'
import type { ModelVersion } from '../../../schemas/wire/records.ts'
import { createRandom } from '../../../testing/random.ts'
import { soundPipeline } from '../../schemas/shop-definition.ts'

const features = ['large', 'odd', 'often', 'noise']
const width = features.length

/** One in 40 is positive: where the first value is large and the second far from 0. Every ninth lacks the third, and so on. */
function rowsOf(count: number, seed: number): TrainingRows {
  const random = createRandom(seed)
  const rows = new Float64Array(count * width)
  const labels = new Uint8Array(count)
  for (let row = 0; row < count; row++) {
    const values = [100 * random.next(), 4 * random.next() - 2, Math.floor(5 * random.next()), random.next()]
    labels[row] = values[0]! > 85 && Math.abs(values[1]!) > 1.6 ? 1 : 0
    rows.set(values, row * width)
    if (row % 9 === 0) rows[row * width + 2] = Number.NaN
    if (row % 31 === 0) rows[row * width + 1] = Number.NaN
  }
  return { rows, labels, rowCount: count, features, weights: null }
}

/** Of class means: short, yet it learns, and it has a learner. */
const nearest = customModel<{ counts: number[]; sums: number[][] }>({
  name: 'nearest',
  fit({ rows, labels, rowCount }) {
    const weights = { counts: [0, 0], sums: [new Array<number>(width).fill(0), new Array<number>(width).fill(0)] }
    for (let row = 0; row < rowCount; row++) {
      weights.counts[labels[row]!]! += 1
      for (let i = 0; i < width; i++) weights.sums[labels[row]!]![i]! += rows[row * width + i]! || 0
    }
    return weights
  },
  predictor({ counts, sums }) {
    const distance = (vector: ArrayLike<number>, label: number) =>
      Array.from(vector).reduce(
        (sum, value, i) => sum + ((value || 0) - sums[label]![i]! / (counts[label]! || 1)) ** 2,
        1,
      )
    return (vector) => distance(vector, 0) / (distance(vector, 0) + distance(vector, 1))
  },
  contributions: () => (vector) => Array.from(vector, (value) => value || 0),
  learner(_features, { state }) {
    const weights = (state ?? {
      counts: [0, 0],
      sums: [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
      ],
    }) as {
      counts: number[]
      sums: number[][]
    }
    return {
      learn(vector, label, weight) {
        weights.counts[label]! += weight
        for (let i = 0; i < width; i++) weights.sums[label]![i]! += weight * (vector[i]! || 0)
      },
      weights: () => structuredClone(weights),
      save: () => structuredClone(weights),
    }
  },
})

const kinds: ReadonlyArray<[string, ModelPlan]> = [
  ['logistic', logisticRegression({ l2: 1 })],
  ['mlp', mlp({ hidden: [16, 8], epochs: 4, batchRows: 256 })],
  ['prior', prior()],
  ['own', nearest],
]

const vectorsOf = ({ rows, rowCount }: TrainingRows) =>
  Array.from({ length: rowCount }, (_, row) => rows.subarray(row * width, (row + 1) * width))

function scoresOf(weights: ModelWeights, plan: ModelPlan, vectors: ReadonlyArray<ArrayLike<number>>): number[] {
  const { predict } = scoringOf(weights, plan)
  return vectors.map((vector) => predict(vector))
}

function reasonsOf({ scoreBatch }: Scorer, vector: readonly number[]) {
  const reasons = createReasonRows()
  scoreBatch(Float64Array.from(vector), 1, new Float64Array(1), reasons)
  return listReasons(reasons, 0)
}

function versionOf(model: ModelWeights): ModelVersion {
  return {
    kind: 'version',
    version: 'v1',
    createdAtMs: 1,
    fingerprint: 'f',
    seed: 1,
    model,
    metrics: {},
    trainedOn: [],
    parent: null,
    origin: 'manual',
  }
}

describe.each(kinds)('a model: %s', (kind, plan) => {
  const training = rowsOf(4_000, 1)
  const vectors = vectorsOf(rowsOf(300, 2))

  test('same rows and seed, same weights; the rows stay as they are', async () => {
    const first = await modelOf(plan).fit(training, { seed: 5 })
    expect(training).toEqual(rowsOf(4_000, 1))
    const second = await modelOf(plan).fit(rowsOf(4_000, 1), { seed: 5 })
    expect(second.weights).toEqual(first.weights)
    expect(first.weights.kind).toBe(kind)
    if (kind === 'mlp') expect((await modelOf(plan).fit(training, { seed: 6 })).weights).not.toEqual(first.weights)
  })

  test('scores are probabilities, the same after a file and after the registry, and change nothing', async () => {
    const { weights } = await modelOf(plan).fit(training, { seed: 5 })
    const scores = scoresOf(weights, plan, vectors)
    for (const score of scores) expect(score >= 0 && score <= 1).toBe(true)
    expect(vectors).toEqual(vectorsOf(rowsOf(300, 2)))
    expect(scoresOf(weights, plan, [...vectors].reverse()).reverse()).toEqual(scores)
    const filed = modelFromJson(modelToJson(versionOf(weights)), 'model.json').model
    expect(scoresOf(filed, plan, vectors)).toEqual(scores)
    const { codec } = compile(soundPipeline).models
    const read = codec.decode(codec.encode(versionOf(weights))) as ModelVersion
    expect(read.model).toEqual(weights)
    expect(scoresOf(read.model, plan, vectors)).toEqual(scores)
  })

  test('a missing value survives, alone and with all the others', async () => {
    const { weights } = await modelOf(plan).fit(training, { seed: 5 })
    const scorer = createScorer(
      { version: 'v1', model: weights },
      { features: features.map((name) => ({ name })), model: plan },
      width,
    )
    const whole = [90, 1.9, 2, 0.5]
    const lacking = [...features.keys()].map((column) => whole.map((value, i) => (i === column ? Number.NaN : value)))
    for (const vector of [...lacking, new Array<number>(width).fill(Number.NaN)]) {
      expect(scorer.score(vector)).toBeGreaterThanOrEqual(0)
      for (const { feature, contribution } of reasonsOf(scorer, vector)) {
        expect(vector[features.indexOf(feature)]).not.toBeNaN()
        expect(Number.isFinite(contribution)).toBe(true)
      }
    }
  })

  test.each([
    ['no rows', 0, 0],
    ['one class', 40, 0],
    ['the other class', 40, 1],
  ])('%s: refused in a sentence, or a score all the same', async (_, rowCount, label) => {
    const rows = { ...rowsOf(rowCount, 3), labels: new Uint8Array(rowCount).fill(label) }
    const fitted = await modelOf(plan)
      .fit(rows, { seed: 1 })
      .catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'model_untrainable', message: expect.stringMatching(/but got |JSON/) })
        return null
      })
    if (kind === 'logistic' || kind === 'mlp') expect(fitted).toBeNull()
    else if (fitted) expect(scoresOf(fitted.weights, plan, [rowsOf(1, 1).rows])[0]).toBeGreaterThanOrEqual(0)
  })

  test('constant columns and columns without a value do no harm', async () => {
    const { rows, labels, rowCount } = rowsOf(2_000, 4)
    const bent = rows.map((value, at) => (at % width === 2 ? 0.1 : at % width === 3 ? Number.NaN : value))
    const { weights } = await modelOf(plan).fit({ rows: bent, labels, rowCount, features, weights: null }, { seed: 1 })
    for (const score of scoresOf(weights, plan, vectors)) expect(score >= 0 && score <= 1).toBe(true)
  })

  test('stops on abort', async () => {
    const reason = new Error('enough')
    await expect(modelOf(plan).fit(training, { seed: 1, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })
})

describe.each(kinds)('a learner: %s', (kind, plan) => {
  const training = rowsOf(3_000, 7)
  const vectors = vectorsOf(training)
  const start = { seed: 3, state: null }
  const learn = (learner: OnlineLearner, from: number, until: number) => {
    for (let row = from; row < until; row++) learner.learn(vectors[row]!, training.labels[row] as 0 | 1)
  }

  test('predicts from its weights, and predicting changes nothing', async () => {
    const learner = await modelOf(plan).learner!(features, start)
    learn(learner, 0, 2_000)
    const weights = learner.weights()
    const saved = learner.save()
    const probes = vectors.slice(0, 50)
    expect(probes.map((vector) => learner.predict(vector))).toEqual(scoresOf(weights, plan, probes))
    expect(learner.save().equals(saved)).toBe(true)
    expect(learner.weights()).toEqual(weights)
    expect(vectors).toEqual(vectorsOf(rowsOf(3_000, 7)))
    learner.close()
  })

  test.each([1, 777, 2_048])('continues from its state after %i labels to the last bit', async (labels) => {
    const whole = await modelOf(plan).learner!(features, start)
    learn(whole, 0, 3_000)
    const first = await modelOf(plan).learner!(features, start)
    learn(first, 0, labels)
    const state = first.save()
    learn(first, labels, 3_000)
    const second = await modelOf(plan).learner!(features, { seed: 99, state })
    expect(second.weights()).toEqual((await modelOf(plan).learner!(features, { seed: 4, state })).weights())
    learn(second, labels, 3_000)
    for (const learner of [first, second]) {
      expect(learner.weights()).toEqual(whole.weights())
      expect(learner.save().equals(whole.save())).toBe(true)
    }
  })

  test('rejects a state that is another’s', async () => {
    const learner = await modelOf(plan).learner!(features, start)
    learn(learner, 0, 10)
    const expectedError = { code: 'state_foreign' }
    const others = [...features].reverse()
    await expect(modelOf(plan).learner!(others, { seed: 1, state: learner.save() })).rejects.toMatchObject(
      expectedError,
    )
    await expect(modelOf(plan).learner!(features, { seed: 1, state: Buffer.from('x') })).rejects.toMatchObject(
      expectedError,
    )
  })

  test('has a score before the first label, and with one class only', async () => {
    const learner = await modelOf(plan).learner!(features, start)
    expect(learner.predict(vectors[0]!)).toBeGreaterThanOrEqual(0)
    for (let i = 0; i < 1_000; i++) learner.learn(vectors[i]!, 0)
    const score = learner.predict(vectors[0]!)
    expect(score >= 0 && score <= 1).toBe(true)
    if (kind !== 'own') expect(score).toBeLessThan(0.05)
  })
})

describe('tensors', () => {
  test('do not pile up, after any fits and updates', async () => {
    const plan = mlp({ hidden: [8, 4], epochs: 1, batchRows: 128 })
    const training = rowsOf(600, 1)
    await modelOf(plan).fit(training, { seed: 1 })
    const before = tf.memory()
    const learner = await modelOf(plan).learner!(features, { seed: 1, state: null })
    for (let round = 0; round < 20; round++) {
      await modelOf(plan).fit(training, { seed: round })
      for (let row = 0; row < 600; row++)
        learner.learn(training.rows.subarray(row * width, (row + 1) * width), training.labels[row] as 0 | 1)
      const stopping = new AbortController()
      const aborted = modelOf(plan).fit(training, { seed: round, signal: stopping.signal })
      stopping.abort(new Error('enough'))
      await expect(aborted).rejects.toThrow('enough')
    }
    learner.close()
    expect([tf.memory().numTensors, tf.memory().numBytes]).toEqual([before.numTensors, before.numBytes])
  })
})
