/** Weights of a multilayer perceptron in, its score and the contributions to it out: plain loops over flat arrays. */
import assert from 'node:assert/strict'
import type { LayerWeights, MlpWeights } from '../../schemas/model-plan.ts'
import type { Scoring } from './model.ts'
import { inputMax } from './network.ts'

/** Units whose sums run side by side in registers, each value of the input being loaded once for all of them. */
const lanes = 4

interface FlatLayer {
  readonly inputs: number
  readonly units: number
  /** By groups of `lanes` units, then input, then lane; units are filled up with zeros. */
  readonly weights: Float64Array
  readonly biases: Float64Array
  readonly output: Float64Array
}

/**
 * A missing value takes the mean. Contributions are the gradient of the log odds times the standardised value: between rectifiers the
 * network is linear, so that their sum is what the values add to the log odds as far as the vector's own linear piece goes.
 */
export function mlpScoring({ features, means, scales, layers }: MlpWeights): Scoring {
  const width = features.length
  assert(means.length === width && scales.length === width, `weights with ${width} features hold ${means.length} means`)
  const flat = flatten(width, layers)
  const last = flat.at(-1)!
  const centres = Float64Array.from(means)
  const factors = Float64Array.from(scales, (scale) => 1 / scale)
  const input = new Float64Array(width)
  const slopes = flat.map(({ inputs }) => new Float64Array(padded(inputs)))
  /** What the layers hold the outputs of. */
  const scored = new Float64Array(width).fill(Number.NaN)

  /** Nothing is computed again for the vector that was scored last: reasons are asked for right after the score. */
  function forward(vector: ArrayLike<number>): number {
    if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a model of ${width}`)
    let isSame = true
    for (let i = 0; i < width; i++) {
      let value = (vector[i]! - centres[i]!) * factors[i]!
      // Only NaN differs from itself.
      // biome-ignore lint/suspicious/noSelfCompare: see above.
      if (value !== value) value = 0
      else if (value > inputMax) value = inputMax
      else if (value < -inputMax) value = -inputMax
      input[i] = value
      if (value !== scored[i]) isSame = false
    }
    if (!isSame) {
      scored.set(input)
      let from: Float64Array = input
      for (let l = 0; l < flat.length; l++) {
        layerForward(flat[l]!, from, l < flat.length - 1)
        from = flat[l]!.output
      }
    }
    return last.output[0]!
  }

  return {
    predict: (vector) => 1 / (1 + Math.exp(-forward(vector))),
    contributions(vector, into) {
      forward(vector)
      let slope: Float64Array = unit
      for (let l = flat.length - 1; l >= 0; l--) {
        layerBackward(flat[l]!, slope, l > 0 ? flat[l - 1]!.output : null, slopes[l]!)
        slope = slopes[l]!
      }
      for (let i = 0; i < width; i++) into[i] = slope[i]! * input[i]!
    },
  }
}

const unit = Float64Array.of(1, 0, 0, 0)

const padded = (units: number) => Math.ceil(units / lanes) * lanes

function flatten(width: number, layers: readonly LayerWeights[]): FlatLayer[] {
  let inputs = width
  return layers.map(({ weights, biases }, l) => {
    const units = biases.length
    assert(weights.length === inputs * units, `layer ${l + 1} has ${weights.length} weights, not ${inputs} × ${units}`)
    assert(l < layers.length - 1 || units === 1, `the last layer has ${units} units, expected 1`)
    const flat: FlatLayer = {
      inputs,
      units,
      weights: new Float64Array(padded(units) * inputs),
      biases: new Float64Array(padded(units)),
      output: new Float64Array(padded(units)),
    }
    flat.biases.set(biases)
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < units; j++) {
        const lane = j % lanes
        flat.weights[(j - lane) * inputs + i * lanes + lane] = weights[i * units + j]!
      }
    }
    inputs = units
    return flat
  })
}

function layerForward({ inputs, weights, biases, output }: FlatLayer, from: Float64Array, isRectified: boolean): void {
  let at = 0
  for (let j = 0; j < output.length; j += lanes) {
    let a = biases[j]!
    let b = biases[j + 1]!
    let c = biases[j + 2]!
    let d = biases[j + 3]!
    for (let i = 0; i < inputs; i++) {
      const value = from[i]!
      a += value * weights[at]!
      b += value * weights[at + 1]!
      c += value * weights[at + 2]!
      d += value * weights[at + 3]!
      at += lanes
    }
    output[j] = isRectified && a < 0 ? 0 : a
    output[j + 1] = isRectified && b < 0 ? 0 : b
    output[j + 2] = isRectified && c < 0 ? 0 : c
    output[j + 3] = isRectified && d < 0 ? 0 : d
  }
}

/** `passed`: what the rectifiers before the layer let through; null for the network's input, which has none. */
function layerBackward(layer: FlatLayer, slope: Float64Array, passed: Float64Array | null, into: Float64Array): void {
  const { inputs, weights, output } = layer
  into.fill(0)
  let at = 0
  for (let j = 0; j < output.length; j += lanes) {
    const [a, b, c, d] = [slope[j]!, slope[j + 1]!, slope[j + 2]!, slope[j + 3]!]
    for (let i = 0; i < inputs; i++) {
      into[i]! += a * weights[at]! + b * weights[at + 1]! + c * weights[at + 2]! + d * weights[at + 3]!
      at += lanes
    }
  }
  if (passed === null) return
  for (let i = 0; i < inputs; i++) if (passed[i]! <= 0) into[i] = 0
}
