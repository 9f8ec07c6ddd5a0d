/** Weights of a multilayer perceptron in, its score and the contributions to it out: plain loops over flat arrays. */
import assert from 'node:assert/strict'
import type { LayerWeights, MlpWeights } from '../../schemas/models/mlp.ts'
import { standardise } from './input-scales.ts'
import type { Scoring } from './model.ts'

/** Units whose sums run side by side in registers, each value of the input being loaded once for all of them. */
const lanes = 4

/** Products of a matrix with a vector. */
interface FlatMatrix {
  readonly inputs: number
  /** By groups of `lanes` outputs, then input, then lane; outputs are filled up with zeros to whole groups. */
  readonly weights: Float64Array
  readonly biases: Float64Array
  readonly output: Float64Array
  /** Inputs that are not 0, of which about half of what a rectifier lets through is. */
  readonly active: Uint16Array
}

/**
 * A missing value takes the mean. Contributions are the gradient of the log odds times the standardised value: between rectifiers the
 * network is linear, so that their sum is what the values add to the log odds within the vector's own linear piece.
 */
export function mlpScoring({ features, units, means, scales, layers }: MlpWeights): Scoring {
  const width = features.length
  const lengths = [units.length, means.length, scales.length]
  assert(
    lengths.every((length) => length === width),
    `weights with ${width} features hold ${lengths.join(', ')} units, means and scales`,
  )
  requireShape(width, layers)
  const sizes = [width, ...layers.map(({ biases }) => biases.length)]
  const forwards = layers.map(({ weights, biases }, l) => {
    const matrix = flatten(sizes[l]!, sizes[l + 1]!, (i, j) => weights[i * biases.length + j]!)
    matrix.biases.set(biases)
    return matrix
  })
  const backwards = layers.map(({ weights, biases }, l) =>
    flatten(sizes[l + 1]!, sizes[l]!, (j, i) => weights[i * biases.length + j]!),
  )
  const margin = forwards.at(-1)!.output
  const inputScales = {
    units: Float64Array.from(units),
    means: Float64Array.from(means),
    scales: Float64Array.from(scales),
  }
  const input = new Float64Array(width)
  /** What the layers hold the outputs of. */
  const scored = new Float64Array(width).fill(Number.NaN)

  /** Nothing is computed again for the vector that was scored last: reasons are requested right after the score. */
  function forward(vector: ArrayLike<number>): number {
    if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a model of ${width}`)
    standardise(vector, inputScales, input, 0)
    let isSame = true
    for (let i = 0; i < width; i++) if (input[i] !== scored[i]) isSame = false
    if (!isSame) {
      scored.set(input)
      let from: Float64Array = input
      for (let l = 0; l < forwards.length; l++) {
        multiply(forwards[l]!, from)
        from = forwards[l]!.output
        if (l < forwards.length - 1) rectify(from)
      }
    }
    return margin[0]!
  }

  return {
    predict: (vector) => 1 / (1 + Math.exp(-forward(vector))),
    contributions(vector, into) {
      forward(vector)
      let slope: Float64Array = unit
      for (let l = backwards.length - 1; l >= 0; l--) {
        multiply(backwards[l]!, slope)
        slope = backwards[l]!.output
        if (l > 0) closeWhereShut(slope, forwards[l - 1]!.output)
      }
      for (let i = 0; i < width; i++) into[i] = slope[i]! * input[i]!
    },
  }
}

const unit = Float64Array.of(1)

/** A rectifier that lets nothing through has no slope. */
function closeWhereShut(slope: Float64Array, passed: Float64Array): void {
  for (let i = 0; i < slope.length; i++) if (passed[i]! <= 0) slope[i] = 0
}

function requireShape(width: number, layers: readonly LayerWeights[]): void {
  let inputs = width
  layers.forEach(({ weights, biases }, l) => {
    const units = biases.length
    assert(weights.length === inputs * units, `layer ${l + 1} has ${weights.length} weights, not ${inputs} × ${units}`)
    assert(l < layers.length - 1 || units === 1, `the last layer has ${units} units, expected 1`)
    inputs = units
  })
}

function flatten(inputs: number, outputs: number, weightOf: (input: number, output: number) => number): FlatMatrix {
  const padded = Math.ceil(outputs / lanes) * lanes
  const weights = new Float64Array(padded * inputs)
  for (let j = 0; j < outputs; j++) {
    const lane = j % lanes
    for (let i = 0; i < inputs; i++) weights[(j - lane) * inputs + i * lanes + lane] = weightOf(i, j)
  }
  return {
    inputs,
    weights,
    biases: new Float64Array(padded),
    output: new Float64Array(padded),
    active: new Uint16Array(inputs),
  }
}

function multiply({ inputs, weights, biases, output, active }: FlatMatrix, from: Float64Array): void {
  let count = 0
  for (let i = 0; i < inputs; i++) {
    active[count] = i
    count += from[i] === 0 ? 0 : 1
  }
  for (let j = 0; j < output.length; j += lanes) {
    let a = biases[j]!
    let b = biases[j + 1]!
    let c = biases[j + 2]!
    let d = biases[j + 3]!
    const group = j * inputs
    for (let k = 0; k < count; k++) {
      const i = active[k]!
      const value = from[i]!
      const at = group + i * lanes
      a += value * weights[at]!
      b += value * weights[at + 1]!
      c += value * weights[at + 2]!
      d += value * weights[at + 3]!
    }
    output[j] = a
    output[j + 1] = b
    output[j + 2] = c
    output[j + 3] = d
  }
}

function rectify(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) if (values[i]! < 0) values[i] = 0
}
