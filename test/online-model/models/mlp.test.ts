import { describe, expect, test } from 'vitest'
import { createBatch, createGradient } from '../../../online-model/models/gradient.ts'
import { signedLog, standardise } from '../../../online-model/models/input-scales.ts'
import { modelOf, scoringOf } from '../../../online-model/models/model-of.ts'
import { firstParameters, layerWeights, networkOf } from '../../../online-model/models/network.ts'
import { createRandom } from '../../../online-model/models/random.ts'
import { open, openTensors, type TensorFlow } from '../../../online-model/models/tensors.ts'
import { mlp, prior } from '../../../schemas/definition/definition.ts'
import type { MlpWeights } from '../../../schemas/models/mlp.ts'

const features = ['a', 'b', 'c']

/** As it is written in textbooks, over the weights as a version holds them. */
function logOdds({ units, means, scales, layers }: MlpWeights, vector: readonly number[]): number {
  let values = vector.map((value, i) => {
    const logarithm = Math.sign(value) * Math.log1p(Math.abs(value) / units[i]!)
    return Number.isNaN(value) ? 0 : Math.min(10, Math.max(-10, (logarithm - means[i]!) / scales[i]!))
  })
  layers.forEach(({ weights, biases }, l) => {
    values = biases.map((bias, j) => {
      const sum = values.reduce((total, value, i) => total + value * weights[i * biases.length + j]!, bias)
      return l < layers.length - 1 ? Math.max(0, sum) : sum
    })
  })
  return values[0]!
}

function drawn(hidden: readonly number[], seed: number): { weights: MlpWeights; vectors: number[][] } {
  const random = createRandom(seed)
  const network = networkOf(features.length, hidden)
  const parameters = firstParameters(network, -1, random).map((value) => value + 0.1 * random.normal())
  const vectors = Array.from({ length: 50 }, () => features.map(() => 4 * random.normal()))
  vectors[1]![0] = Number.NaN
  vectors[2] = features.map(() => Number.NaN)
  vectors[3]![2] = 1e9
  const weights: MlpWeights = {
    kind: 'mlp',
    features,
    units: [1, 3, 0.2],
    means: [0.5, -1, 2],
    scales: [1, 2, 0.5],
    layers: layerWeights(network, parameters),
  }
  return { weights, vectors }
}

describe('scoring', () => {
  test.each([[[1]], [[4]], [[5, 3]], [[7, 8, 9]], [[64, 32]]])(
    'of hidden layers %j is that of the textbook',
    (hidden) => {
      const { weights, vectors } = drawn(hidden, 11)
      const { predict } = scoringOf(weights, prior())
      for (const vector of vectors)
        expect(predict(vector)).toBeCloseTo(1 / (1 + Math.exp(-logOdds(weights, vector))), 12)
    },
  )

  test('contributions are gradient times standardised value', () => {
    const { weights, vectors } = drawn([6, 5], 12)
    const into = new Float64Array(3)
    vectors.forEach((vector) => {
      scoringOf(weights, prior()).scoreBatch(Float64Array.from(vector), 1, new Float64Array(1), into)
      vector.forEach((value, i) => {
        const inputAt = (at: number) => (signedLog(at, weights.units[i]!) - weights.means[i]!) / weights.scales[i]!
        const input = inputAt(value)
        if (Number.isNaN(value)) expect(into[i] === 0).toBe(true)
        // Where a value is held at the edge, the slope is that of the edge.
        if (Number.isNaN(value) || Math.abs(input) >= 10) return
        const slope =
          (logOdds(weights, vector.with(i, value + 1e-6)) - logOdds(weights, vector.with(i, value - 1e-6))) /
          (inputAt(value + 1e-6) - inputAt(value - 1e-6))
        expect(into[i]).toBeCloseTo(input * slope, 5)
      })
    })
  })

  test('rejects a vector of another length and layers that do not fit', () => {
    const { weights } = drawn([4], 1)
    expect(() => scoringOf(weights, prior()).predict([1, 2])).toThrow('a vector of 2 values for a model of 3')
    const [first] = weights.layers
    expect(() => scoringOf({ ...weights, layers: [first!] }, prior())).toThrow('the last layer has 4 units')
    expect(() => scoringOf({ ...weights, layers: [first!, first!] }, prior())).toThrow(
      'layer 2 has 12 weights, not 4 × 4',
    )
  })
})

const linear = { units: null, means: new Float64Array(3), scales: new Float64Array(3).fill(1) }

describe('the gradient', () => {
  test('is the slope of the loss in every parameter', async () => {
    const random = createRandom(3)
    const network = networkOf(3, [5, 4])
    const parameters = firstParameters(network, -0.5, random)
    const batch = createBatch(8, 3)
    batch.count = 7
    for (let row = 0; row < batch.count; row++) {
      const vector = features.map(() => random.normal())
      standardise(vector, 0, linear, batch.inputs, row * 3)
      batch.labels[row] = row % 3 === 0 ? 1 : 0
      batch.weights[row] = 0.1 + random.next()
    }
    const gradientOf = createGradient(await openTensors(), network, 8)
    const slopes = gradientOf(parameters, batch).values.slice()
    const lossAt = (index: number, by: number) =>
      gradientOf(parameters.with(index, parameters[index]! + by), batch).loss
    for (let index = 0; index < parameters.length; index++)
      expect(slopes[index]).toBeCloseTo((lossAt(index, 0.01) - lossAt(index, -0.01)) / 0.02, 2)
    expect(Math.max(...slopes.map(Math.abs))).toBeGreaterThan(0.1)
  })
})

describe('the fit', () => {
  /** Neither value alone is informative: positive where both have the same sign. */
  function crossed(count: number) {
    const random = createRandom(8)
    const rows = Float64Array.from({ length: count * 3 }, () => 5 + 3 * random.normal())
    const labels = Uint8Array.from({ length: count }, (_, row) =>
      rows[row * 3]! > 5 === rows[row * 3 + 1]! > 5 ? 1 : 0,
    )
    return { rows, labels, rowCount: count, features, weights: null }
  }
  const plan = mlp({ hidden: [16, 8], epochs: 20, batchRows: 128, learningRate: 0.01 })

  test('learns what no linear model can separate', async () => {
    const progress: string[] = []
    const training = crossed(3_000)
    const { weights, note } = await modelOf(plan).fit(training, {
      seed: 1,
      onProgress: (done, text) => progress.push(`${done} ${text}`),
    })
    const { predict } = scoringOf(weights, plan)
    const right = training.labels.reduce(
      (sum, label, row) => sum + Number(predict(training.rows.subarray(row * 3, row * 3 + 3)) > 0.5 === (label === 1)),
      0,
    )
    expect(right / 3_000).toBeGreaterThan(0.95)
    expect(note).toMatch(/^20 epochs of 24 steps on (wasm|tensorflow)/)
    expect(progress[0]).toMatch(/^0\.05 epoch 1 of 20, log-loss 0\.\d{5}$/)
    expect(progress).toHaveLength(20)
  })

  test('rows that represent many give the share that they represent', async () => {
    const { rows, labels, rowCount } = crossed(2_000)
    // Noise in, so that only the share of positives can be learnt: of every ten negatives one is kept, and represents ten.
    const noise = rows.map((_, at) => Math.sin(at * 12.9898) * 3)
    const weights = Float64Array.from(labels, (label) => (label === 1 ? 1 : 10))
    const fitted = await modelOf(mlp({ hidden: [4], epochs: 30 })).fit(
      { rows: noise, labels, rowCount, features, weights },
      { seed: 1 },
    )
    const { predict } = scoringOf(fitted.weights, plan)
    const scores = Array.from({ length: rowCount }, (_, row) => predict(noise.subarray(row * 3, row * 3 + 3)))
    const mean = scores.reduce((sum, score, row) => sum + score * weights[row]!, 0) / weights.reduce((a, b) => a + b, 0)
    const positives = labels.reduce((sum, label) => sum + label, 0)
    expect(mean).toBeCloseTo(positives / weights.reduce((a, b) => a + b, 0), 2)
  })

  test('reports it when it diverges', async () => {
    const wild = mlp({ hidden: [4], epochs: 3, learningRate: 1, l2: 1e300 })
    await expect(modelOf(wild).fit(crossed(1_000), { seed: 1 })).rejects.toMatchObject({
      code: 'model_untrainable',
      message: expect.stringMatching(/^The perceptron's loss is no number any more in epoch \d; lower/),
    })
  })
})

describe('the backend', () => {
  test('is WebAssembly where the native binding is not installed', async () => {
    const missing = Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
    expect((await open(() => Promise.reject(missing))).backend).toBe('wasm')
  })

  test('is WebAssembly where the native binding is installed and fails, and reports why', async () => {
    const broken = { setBackend: async () => true, tidy: () => [], getBackend: () => 'tensorflow' } as never
    for (const [load, reason] of [
      [() => Promise.reject(new Error('libtensorflow.so.2: cannot open\nmore')), 'libtensorflow.so.2: cannot open'],
      [
        async () => broken as TensorFlow,
        'the backend tensorflow of TensorFlow.js says that 2 · 5 + 3 · 7 is undefined',
      ],
    ] as const)
      expect((await open(load)).backend).toBe(`wasm (@tensorflow/tfjs-node does not work: ${reason})`)
  })

  test('is the native binding where that works', async () => {
    const native = { setBackend: async () => true, tidy: () => [31], getBackend: () => 'tensorflow' } as never
    const opened = await open(async () => native as TensorFlow)
    expect(opened).toEqual({ tf: native, backend: 'tensorflow' })
  })
})
