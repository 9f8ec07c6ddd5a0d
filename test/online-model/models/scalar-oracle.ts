/**
 * Scoring as it was before batches, one vector at a time, with the exponential and the logarithm of the engine: the oracle of the kernels.
 * Scores that were published then are repeated by what scores now, bit for bit (decision 49).
 */
import assert from 'node:assert/strict'
import type { LogisticWeights } from '../../../schemas/models/logistic.ts'
import type { LayerWeights, MlpWeights } from '../../../schemas/models/mlp.ts'

export interface ScalarScoring {
  predict(vector: ArrayLike<number>): number
  contributions(vector: ArrayLike<number>, into: Float64Array): void
}

export function scalarReasons(features: readonly string[], values: Float64Array, reasonsMax: number) {
  const reasons: Array<{ feature: string; contribution: number }> = []
  for (let round = 0; round < reasonsMax; round++) {
    let best = 0
    for (let i = 1; i < values.length; i++) if (Math.abs(values[i]!) > Math.abs(values[best]!)) best = i
    if (values.length === 0 || values[best] === 0) break
    reasons.push({ feature: features[best]!, contribution: values[best]! })
    values[best] = 0
  }
  return reasons
}

export function scalarLogistic({ means, scales, weights, intercept }: LogisticWeights): ScalarScoring {
  const coefficients = weights.map((weight, i) => weight / scales[i]!)
  return {
    predict(vector) {
      let margin = intercept
      for (let i = 0; i < vector.length; i++) {
        const value = vector[i]!
        if (!Number.isNaN(value)) margin += coefficients[i]! * (value - means[i]!)
      }
      return 1 / (1 + Math.exp(-margin))
    },
    contributions(vector, into) {
      for (let i = 0; i < vector.length; i++)
        into[i] = Number.isNaN(vector[i]) ? 0 : coefficients[i]! * (vector[i]! - means[i]!)
    },
  }
}

interface InputScales {
  readonly units: Float64Array
  readonly means: Float64Array
  readonly scales: Float64Array
}

const inputMax = 10

function standardise(
  vector: ArrayLike<number>,
  { units, means, scales }: InputScales,
  into: Float64Array,
  at: number,
): void {
  for (let i = 0; i < means.length; i++) {
    const value = vector[i]!
    const logarithm = value < 0 ? -Math.log1p(-value / units[i]!) : Math.log1p(value / units[i]!)
    const input = (logarithm - means[i]!) / scales[i]!
    if (Number.isNaN(input)) into[at + i] = 0
    else into[at + i] = input > inputMax ? inputMax : input < -inputMax ? -inputMax : input
  }
}

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
export function scalarPerceptron({ features, units, means, scales, layers }: MlpWeights): ScalarScoring {
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
