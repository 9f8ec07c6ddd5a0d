/** The kernels of the perceptron: the compiled text, and the same bits from WebAssembly, JavaScript and what scored before. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import wabt from 'wabt'
import { standardise } from '../../../online-model/models/input-scales.ts'
import { mlpScoring } from '../../../online-model/models/mlp-scoring.ts'
import {
  type Kernel,
  openJavaScript,
  openKernel,
  padded,
  type WebAssemblyHost,
} from '../../../online-model/models/network-kernel.ts'
import { createRandom, type Random } from '../../../online-model/models/random.ts'
import type { MlpWeights } from '../../../schemas/models/mlp.ts'
import { drawn } from '../../support/nightly.ts'
import { scalarPerceptron } from './scalar-oracle.ts'

const folder = new URL('../../../online-model/models/', import.meta.url)

test('the code is the text, compiled', async () => {
  const text = readFileSync(new URL('network-kernel.wat', folder), 'utf8')
  const compiled = (await wabt()).parseWat('network-kernel.wat', text, { simd: true })
  compiled.validate()
  const code = Buffer.from(compiled.toBinary({}).buffer).toString('base64')
  const lines = code.match(/.{1,110}/g)!.map((line) => `  '${line}'`)
  const file = [
    '/**',
    ' * `network-kernel.wat` in base64, compiled and written by `test/online-model/models/network-kernel.test.ts` (`-u`). Used by',
    ' * `network-kernel.ts`.',
    ' */',
    'export const networkKernelCode =',
    `${lines.join(' +\n')}\n`,
  ]
  await expect(file.join('\n')).toMatchFileSnapshot('../../../online-model/models/network-kernel-code.ts')
})

/** What breaks sums: signed zeros, the smallest and largest numbers, what is none. */
const oddities = [0, -0, 5e-324, -2.5e-310, 1e-38, 1e300, -1e300, 1.7976931348623157e308, Infinity, -Infinity, NaN]

const magnitudes = [0.01, 0.1, 1, 10, 100, 1_000]

/** Without functions of the engine, so that the same is drawn on every machine. */
function drawNumber(random: Random, oddShare: number): number {
  if (random.next() < oddShare) return oddities[random.below(oddities.length)]!
  return (random.next() - 0.5) * magnitudes[random.below(magnitudes.length)]!
}

function drawWeights(random: Random): MlpWeights {
  const oddShare = [0, 0, 0.02, 0.3][random.below(4)]!
  const sizeOf = () => 1 + random.below([6, 20, 70][random.below(3)]!)
  const width = sizeOf()
  const sizes = [...Array.from({ length: random.below(4) }, sizeOf), 1]
  const positive = () => Math.abs(drawNumber(random, 0)) || 1
  return {
    kind: 'mlp',
    features: Array.from({ length: width }, (_, i) => `f${i}`),
    units: Array.from({ length: width }, positive),
    means: Array.from({ length: width }, () => random.next() - 0.5),
    scales: Array.from({ length: width }, positive),
    layers: sizes.map((units, l) => ({
      weights: Array.from({ length: (sizes[l - 1] ?? width) * units }, () => Math.fround(drawNumber(random, oddShare))),
      biases: Array.from({ length: units }, () => Math.fround(drawNumber(random, oddShare))),
    })),
  }
}

const bitsOf = (values: Float64Array) => Array.from(new BigUint64Array(values.buffer, 0, values.length))
const isWasm = openKernel(8, 1).backend === 'wasm'

describe('bit for bit', () => {
  const networks = drawn({ always: 400, nightly: 20_000 })
  const seed = 49

  test(`${networks} networks score as before, one by one and in batches (seed ${seed})`, () => {
    const random = createRandom(seed)
    for (let n = 0; n < networks; n++) {
      const weights = drawWeights(random)
      const width = weights.features.length
      // Some are of more than one block.
      const count = n % 50 === 0 ? 600 : 1 + random.below(20)
      const vectors = Float64Array.from({ length: count * width }, () => drawNumber(random, 0.1))
      const before = scalarPerceptron(weights)
      const expected = { scores: new Float64Array(count), contributions: new Float64Array(count * width) }
      for (let row = 0; row < count; row++) {
        const vector = vectors.subarray(row * width, (row + 1) * width)
        expected.scores[row] = before.predict(vector)
        before.contributions(vector, expected.contributions.subarray(row * width, (row + 1) * width))
      }
      const where = `network ${n} of ${[width, ...weights.layers.map(({ biases }) => biases.length)].join('-')}`
      for (const scoring of [mlpScoring(weights), mlpScoring(weights, openJavaScript)]) {
        const [scores, scoresAlone] = [new Float64Array(count), new Float64Array(count)]
        const contributions = new Float64Array(count * width)
        scoring.scoreBatch(vectors, count, scores, contributions)
        scoring.scoreBatch(vectors, count, scoresAlone, null)
        const single = Array.from({ length: count }, (_, row) =>
          scoring.predict(vectors.subarray(row * width, (row + 1) * width)),
        )
        // The sign of a zero, too.
        expect([...scores], where).toEqual([...expected.scores])
        expect([...contributions], where).toEqual([...expected.contributions])
        expect([...scoresAlone], where).toEqual([...expected.scores])
        expect(single, where).toEqual([...expected.scores])
      }
    }
  })

  /** Rows, gates, weights and biases of one step, all of them odd at times. */
  function multiplied(open: (length: number, inputsMax: number) => Kernel, random: Random): Float64Array {
    const [inputs, outputs, count] = [random.below(40), 4 * (1 + random.below(20)), 1 + random.below(9)]
    const fromStride = random.below(4) === 0 ? 0 : inputs + random.below(3)
    const gateStride = random.below(4) === 0 ? 0 : inputs + random.below(3)
    const from = 0
    const gate = from + inputs + count * fromStride
    const weights = gate + inputs + count * gateStride
    const biases = weights + inputs * outputs
    const into = biases + outputs
    const kernel = open(into + count * outputs, inputs)
    for (let i = 0; i < into; i++) kernel.memory[i] = drawNumber(random, 0.15)
    kernel.multiply({ from, fromStride, gate, gateStride, inputs, weights, biases, outputs, into }, count)
    return kernel.memory.slice(into)
  }

  test.runIf(isWasm)(`WebAssembly and JavaScript multiply alike (seed ${seed})`, () => {
    for (let n = 0; n < networks; n++) {
      const [wasm, plain] = [openKernel, openJavaScript].map((open) => multiplied(open, createRandom(seed + n)))
      // The sign of a zero, too; which NaN it is, is left open by both.
      expect([...wasm!], `step ${n}`).toEqual([...plain!])
    }
  })

  test.runIf(isWasm)(`WebAssembly and JavaScript standardise alike (seed ${seed})`, () => {
    const random = createRandom(seed)
    /** Where the logarithm of 1 + x takes another way. */
    const edges = [
      0.4142136573791504,
      2 ** -29,
      2 ** -54,
      2 ** 52,
      2 ** 53,
      1,
      3,
      7,
      2 ** 20,
      3.000003814697266,
      6.999988555908203,
    ]
    for (const width of [1, 2, 7, 64]) {
      const stride = padded(width)
      const rows = 2_000
      // Deviations of a hundred keep the logarithms within the limits.
      const scales = {
        units: Float64Array.from({ length: width }, () => (random.below(2) === 0 ? 1 : 0.01 + random.next())),
        means: Float64Array.from({ length: width }, () => random.below(3) - 1),
        scales: Float64Array.from({ length: width }, () => [0.5, 1, 100][random.below(3)]!),
      }
      const vectors = Float64Array.from({ length: rows * width }, () => {
        if (random.below(3) > 0) return drawNumber(random, 0.1)
        const sign = random.below(2) === 0 ? 1 : -1
        const spread = random.below(2) === 0 ? Number.EPSILON : 1e-6
        return (
          sign *
          edges[random.below(edges.length)]! *
          (1 + (random.below(9) - 4 + random.below(2) * random.next()) * spread)
        )
      })
      const from = 3 * stride
      const into = from + rows * width + 1
      const { memory, standardise: standardiseRows } = openKernel(into + rows * stride, 1)
      memory.set(scales.units, 0)
      memory.set(scales.means, stride)
      memory.set(scales.scales, 2 * stride)
      memory.set(vectors, from)
      standardiseRows!({ from, width, units: 0, means: stride, scales: 2 * stride, into, stride }, rows)
      const expected = new Float64Array(width)
      for (let row = 0; row < rows; row++) {
        standardise(vectors, row * width, scales, expected, 0)
        const inputs = memory.subarray(into + row * stride, into + row * stride + width)
        expect([...inputs], `row ${row} of ${width}`).toEqual([...expected])
      }
    }
  })

  test('on every machine the same', () => {
    const random = createRandom(seed)
    const hash = createHash('sha256')
    for (let n = 0; n < 50; n++) {
      const weights = drawWeights(random)
      const width = weights.features.length
      const vectors = Float64Array.from({ length: 20 * width }, () => drawNumber(random, 0.1))
      const [scores, contributions] = [new Float64Array(20), new Float64Array(20 * width)]
      mlpScoring(weights).scoreBatch(vectors, 20, scores, contributions)
      for (const values of [scores, contributions])
        hash.update(bitsOf(values.map((value) => (Number.isNaN(value) ? Number.NaN : value))).join())
    }
    expect(hash.digest('hex').slice(0, 16)).toBe('e242a6ba38b83dbc')
  })
})

describe('the kernel', () => {
  const host = (globalThis as unknown as { WebAssembly: WebAssemblyHost }).WebAssembly

  test.runIf(isWasm)('has memory of a fixed size', () => {
    const { memory } = openKernel(100_000, 64)
    expect(memory.length).toBe(100_000)
    expect(memory.buffer.byteLength).toBe(65_536 * Math.ceil((800_000 + 64 * 16) / 65_536))
  })

  test('is JavaScript where there is no WebAssembly, or none with vectors', () => {
    expect(openKernel(8, 1, null).backend).toBe('javascript')
    expect(openKernel(8, 1, { ...bound(host), validate: () => false }).backend).toBe('javascript')
  })

  test('is JavaScript where the memory is refused, and says what else is wrong', () => {
    const refusing = (error: Error) => ({
      ...bound(host),
      Memory: class {
        readonly buffer = new ArrayBuffer(0)
        constructor() {
          throw error
        }
      },
    })
    expect(openKernel(8, 1, refusing(new RangeError('could not allocate memory'))).backend).toBe('javascript')
    expect(() => openKernel(8, 1, refusing(new TypeError('no pages')))).toThrow('no pages')
  })
})

function bound({ validate, Module, Instance, Memory }: WebAssemblyHost): WebAssemblyHost {
  return { validate, Module, Instance, Memory }
}
