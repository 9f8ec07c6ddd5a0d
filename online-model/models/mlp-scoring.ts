/**
 * Weights of a multilayer perceptron in, its scores of a batch and the contributions to them out: the layers one after the other, each over
 * a block of rows (`network-kernel.ts`).
 */
import assert from 'node:assert/strict'
import type { MlpWeights } from '../../schemas/models/mlp.ts'
import { exp } from './exponentials.ts'
import { type InputScales, standardise } from './input-scales.ts'
import type { Scoring } from './model.ts'
import { type InputStep, type Kernel, type LayerStep, openJavaScript, openKernel, padded } from './network-kernel.ts'

/** Where the parts of a network lie in the memory of its kernel. */
interface NetworkLayout {
  /** Rows that are computed together. */
  readonly rowsMax: number
  readonly standardising: InputStep
  /** As many as a layer has inputs at most. */
  readonly ones: { readonly at: number; readonly count: number }
  readonly forwards: readonly LayerStep[]
  /** Output side first. The first is the same for all rows. Empty where only scores are wanted. */
  readonly backwards: readonly LayerStep[]
  /** What the last of them writes; its stride is 0 without hidden layers. */
  readonly slopes: { readonly at: number; readonly stride: number }
  readonly length: number
}

interface Network {
  readonly layout: NetworkLayout
  readonly kernel: Kernel
  readonly scales: InputScales
  readonly hasPositiveUnits: boolean
}

type OpenKernel = (length: number, inputsMax: number) => Kernel

/** So many rows of so much memory stay in the cache from one layer to the next. */
const blockRowsMax = 256
const blockValuesMax = 262_144

/**
 * A missing value takes the mean. Contributions are the gradient of the log odds times the standardised value: between rectifiers the
 * network is linear, so that their sum is what the values add to the log odds within the vector's own linear piece. `openBlock` computes
 * batches.
 */
export function mlpScoring(weights: MlpWeights, openBlock: OpenKernel = openKernel): Scoring {
  const width = weights.features.length
  requireShape(weights)
  // One vector is scored in JavaScript: training and backtests make many versions, each with few calls, and need no contributions.
  let single: Network | null = null
  let block: Network | null = null
  const score = new Float64Array(1)
  return {
    predict(vector) {
      if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a model of ${width}`)
      single ??= openNetwork(weights, { rowsMax: 1, hasSlopes: false }, openJavaScript)
      const { kernel, layout, scales } = single
      standardise(vector, 0, scales, kernel.memory, layout.standardising.into)
      forward(single, 1)
      writeScores(single, score, 0, 1)
      return score[0]!
    },
    scoreBatch(vectors, count, scores, contributions) {
      block ??= openNetwork(weights, { rowsMax: blockRowsOf(weights), hasSlopes: true }, openBlock)
      const { rowsMax } = block.layout
      for (let row = 0; row < count; row += rowsMax) {
        const rows = Math.min(rowsMax, count - row)
        standardiseRows(block, vectors.subarray(row * width, (row + rows) * width), rows)
        forward(block, rows)
        writeScores(block, scores, row, rows)
        if (contributions !== null) writeContributions(block, contributions, row, rows)
      }
    },
  }
}

function blockRowsOf({ features, layers }: MlpWeights): number {
  const valuesPerRow = layers.reduce((sum, { biases }) => sum + 2 * padded(biases.length), 3 * padded(features.length))
  return Math.max(1, Math.min(blockRowsMax, Math.floor(blockValuesMax / valuesPerRow)))
}

function requireShape({ features, units, means, scales, layers }: MlpWeights): void {
  const width = features.length
  const lengths = [units.length, means.length, scales.length]
  assert(
    lengths.every((length) => length === width),
    `weights with ${width} features hold ${lengths.join(', ')} units, means and scales`,
  )
  let inputs = width
  layers.forEach(({ weights, biases }, l) => {
    const units = biases.length
    assert(weights.length === inputs * units, `layer ${l + 1} has ${weights.length} weights, not ${inputs} × ${units}`)
    assert(l < layers.length - 1 || units === 1, `the last layer has ${units} units, expected 1`)
    inputs = units
  })
}

interface Extent {
  readonly rowsMax: number
  readonly hasSlopes: boolean
}

function openNetwork(weights: MlpWeights, extent: Extent, open: OpenKernel): Network {
  const { units, means, scales } = weights
  const layout = layOut(weights, extent)
  const kernel = open(layout.length, layout.ones.count)
  fill(layout, kernel, weights)
  return {
    layout,
    kernel,
    scales: {
      units: Float64Array.from(units),
      means: Float64Array.from(means),
      scales: Float64Array.from(scales),
    },
    hasPositiveUnits: units.every((unit) => unit > 0),
  }
}

function layOut({ features, layers }: MlpWeights, { rowsMax, hasSlopes }: Extent): NetworkLayout {
  let length = 0
  const take = (values: number) => {
    const at = length
    length += values
    return at
  }
  const width = features.length
  const sizes = [width, ...layers.map(({ biases }) => biases.length)]
  const ones = { at: take(Math.max(...sizes)), count: Math.max(...sizes) }
  const stride = padded(width)
  const standardising: InputStep = {
    // An odd width is read in pairs, one number beyond the last vector.
    from: take(rowsMax * width + 1),
    width,
    units: take(stride),
    means: take(stride),
    scales: take(stride),
    into: take(rowsMax * stride),
    stride,
  }
  const forwards: LayerStep[] = []
  for (const [l, inputCount] of sizes.slice(0, -1).entries()) {
    const outputs = padded(sizes[l + 1]!)
    const former = forwards[l - 1]
    const from = former ? former.into : standardising.into
    const fromStride = former ? former.outputs : stride
    const weights = take(inputCount * outputs)
    // A rectifier is a gate that is shut by the value itself.
    const [gate, gateStride] = former ? [from, fromStride] : [ones.at, 0]
    const biases = take(outputs)
    const into = take(rowsMax * outputs)
    forwards.push({ from, fromStride, gate, gateStride, inputs: inputCount, weights, biases, outputs, into })
  }
  const backwards: LayerStep[] = []
  for (let l = hasSlopes ? layers.length - 1 : -1; l >= 0; l--) {
    const outputs = padded(sizes[l]!)
    const former = backwards.at(-1)
    const isShared = former === undefined
    const from = former ? former.into : ones.at
    const fromStride = former && backwards.length > 1 ? former.outputs : 0
    // A rectifier that lets nothing through has no slope.
    const [gate, gateStride] = former ? [forwards[l]!.into, forwards[l]!.outputs] : [ones.at, 0]
    const weights = take(sizes[l + 1]! * outputs)
    const biases = take(outputs)
    const into = take(isShared ? outputs : rowsMax * outputs)
    backwards.push({ from, fromStride, gate, gateStride, inputs: sizes[l + 1]!, weights, biases, outputs, into })
  }
  const last = backwards.at(-1)
  const slopes = { at: last?.into ?? 0, stride: last && backwards.length > 1 ? last.outputs : 0 }
  return { rowsMax, standardising, ones, forwards, backwards, slopes, length }
}

/** A memory that is new is zero: so are the biases of the way back, and what is padded. */
function fill({ standardising, ones, forwards, backwards }: NetworkLayout, kernel: Kernel, weights: MlpWeights): void {
  const { units, means, scales, layers } = weights
  const { memory } = kernel
  memory.fill(1, ones.at, ones.at + ones.count)
  memory.set(units, standardising.units)
  memory.set(means, standardising.means)
  memory.set(scales, standardising.scales)
  layers.forEach(({ weights, biases }, l) => {
    const forward = forwards[l]!
    const backward = backwards[layers.length - 1 - l]
    memory.set(biases, forward.biases)
    for (let i = 0; i < forward.inputs; i++) {
      for (let j = 0; j < biases.length; j++) {
        const weight = weights[i * biases.length + j]!
        memory[forward.weights + i * forward.outputs + j] = weight
        if (backward) memory[backward.weights + j * backward.outputs + i] = weight
      }
    }
  })
  if (backwards.length > 0) kernel.multiply(backwards[0]!, 1)
}

/** `vectors`: as many as `rows`. */
function standardiseRows(network: Network, vectors: Float64Array, rows: number): void {
  const { layout, kernel, scales, hasPositiveUnits } = network
  const { from, width, into, stride } = layout.standardising
  if (kernel.standardise !== null && hasPositiveUnits) {
    kernel.memory.set(vectors, from)
    kernel.standardise(layout.standardising, rows)
  } else for (let r = 0; r < rows; r++) standardise(vectors, r * width, scales, kernel.memory, into + r * stride)
}

/** The log odds of as many rows. */
function forward({ layout, kernel }: Network, rows: number): void {
  for (const step of layout.forwards) kernel.multiply(step, rows)
}

function writeScores({ layout, kernel }: Network, scores: Float64Array, row: number, rows: number): void {
  const { into, outputs } = layout.forwards.at(-1)!
  for (let r = 0; r < rows; r++) scores[row + r] = 1 / (1 + exp(-kernel.memory[into + r * outputs]!))
}

function writeContributions(network: Network, contributions: Float64Array, row: number, rows: number): void {
  const { layout, kernel } = network
  const { memory } = kernel
  const { standardising, backwards, slopes } = layout
  const { width, into: inputs, stride } = standardising
  for (let b = 1; b < backwards.length; b++) kernel.multiply(backwards[b]!, rows)
  for (let r = 0; r < rows; r++) {
    const slope = slopes.at + r * slopes.stride
    const input = inputs + r * stride
    const into = (row + r) * width
    for (let i = 0; i < width; i++) contributions[into + i] = memory[slope + i]! * memory[input + i]!
  }
}
