/**
 * A multilayer perceptron in one flat array: the layout of its parameters, their first values, and their form in a version. Shared by
 * the fit and the learner.
 */
import type { LayerWeights } from '../../schemas/models/mlp.ts'
import type { Random } from './random.ts'

export interface Layer {
  readonly inputs: number
  readonly units: number
  /** Where its weights begin among all parameters: one row an input, one column a unit. */
  readonly weightsAt: number
  readonly biasesAt: number
}

/** Rectifiers between the layers; the last one has one unit, the log odds. */
export interface Network {
  readonly layers: readonly Layer[]
  readonly parameterCount: number
}

export function networkOf(width: number, hidden: readonly number[]): Network {
  const layers: Layer[] = []
  let at = 0
  let inputs = width
  for (const units of [...hidden, 1]) {
    layers.push({ inputs, units, weightsAt: at, biasesAt: at + inputs * units })
    at += (inputs + 1) * units
    inputs = units
  }
  return { layers, parameterCount: at }
}

/** He's initial values, and the log odds of the classes as the score of an untrained network. */
export function firstParameters(network: Network, logOdds: number, random: Random): Float64Array {
  const parameters = new Float64Array(network.parameterCount)
  for (const { inputs, units, weightsAt, biasesAt } of network.layers) {
    const isLast = biasesAt + units === network.parameterCount
    const scale = isLast ? 0.1 / Math.sqrt(inputs) : Math.sqrt(2 / inputs)
    for (let i = weightsAt; i < biasesAt; i++) parameters[i] = scale * random.normal()
    if (isLast) parameters[biasesAt] = logOdds
  }
  return parameters
}

/**
 * Without the weights of inputs that never varied: no row has moved them from where chance put them, so that a value which comes after the
 * training would move the score by chance. A feature that the definition has only now is missing in all rows of before.
 */
export function withoutUnlearnt(
  { layers }: Network,
  parameters: Float64Array,
  hasVaried: (input: number) => boolean,
): Float64Array {
  const { inputs, units, weightsAt } = layers[0]!
  const learnt = parameters.slice()
  for (let input = 0; input < inputs; input++)
    if (!hasVaried(input)) learnt.fill(0, weightsAt + input * units, weightsAt + (input + 1) * units)
  return learnt
}

/** As a version holds them: single-precision floats. */
export function layerWeights(network: Network, parameters: ArrayLike<number>): LayerWeights[] {
  const slice = (from: number, until: number) => {
    const floats: number[] = []
    for (let i = from; i < until; i++) floats.push(Math.fround(parameters[i]!))
    return floats
  }
  return network.layers.map(({ units, weightsAt, biasesAt }) => ({
    weights: slice(weightsAt, biasesAt),
    biases: slice(biasesAt, biasesAt + units),
  }))
}
