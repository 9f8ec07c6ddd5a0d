/**
 * A multilayer perceptron in plain arrays: the layout of its parameters, their first values, and the gradient of one example. The learner
 * learns with it; the fit shares its layout.
 */
import type { LayerWeights } from '../../schemas/model-plan.ts'
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

/**
 * Standardised inputs are held within this: an amount a hundred deviations out says no more than one of ten, and must not throw a
 * gradient or a score that far.
 */
export const inputMax = 10

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

/** He's initial values, and the log odds of the classes as what an untrained network says. */
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

export interface Backpropagation {
  /** The standardised input of the next example: to be written before each call. */
  readonly input: Float64Array
  /**
   * Adds `weight` times the gradient of the example's log-loss to `gradient`. Returns the probability that the parameters gave to label 1.
   */
  add(parameters: Float64Array, label: number, weight: number, gradient: Float64Array): number
}

/** The scratch space for one example after the other. */
export function createBackpropagation({ layers }: Network): Backpropagation {
  const activations = [...layers.map(({ inputs }) => new Float64Array(inputs)), new Float64Array(1)]
  const slopes = layers.map(({ units }) => new Float64Array(units))

  function forward(parameters: Float64Array): number {
    for (let l = 0; l < layers.length; l++) {
      const { inputs, units, weightsAt, biasesAt } = layers[l]!
      const [from, to] = [activations[l]!, activations[l + 1]!]
      for (let j = 0; j < units; j++) to[j] = parameters[biasesAt + j]!
      for (let i = 0; i < inputs; i++) {
        const value = from[i]!
        // About half of what a rectifier lets through is nothing.
        if (value === 0) continue
        const row = weightsAt + i * units
        for (let j = 0; j < units; j++) to[j]! += value * parameters[row + j]!
      }
      if (l < layers.length - 1) for (let j = 0; j < units; j++) if (to[j]! < 0) to[j] = 0
    }
    return activations.at(-1)![0]!
  }

  function backward(parameters: Float64Array, gradient: Float64Array): void {
    for (let l = layers.length - 1; l >= 0; l--) {
      const { inputs, units, weightsAt, biasesAt } = layers[l]!
      const [from, slope] = [activations[l]!, slopes[l]!]
      const before = l > 0 ? slopes[l - 1]! : null
      for (let j = 0; j < units; j++) gradient[biasesAt + j]! += slope[j]!
      for (let i = 0; i < inputs; i++) {
        const value = from[i]!
        if (value === 0) {
          if (before) before[i] = 0
          continue
        }
        const row = weightsAt + i * units
        let sum = 0
        for (let j = 0; j < units; j++) {
          const change = slope[j]!
          gradient[row + j]! += value * change
          sum += parameters[row + j]! * change
        }
        if (before) before[i] = sum
      }
    }
  }

  return {
    input: activations[0]!,
    add(parameters, label, weight, gradient) {
      const probability = 1 / (1 + Math.exp(-forward(parameters)))
      slopes.at(-1)![0] = weight * (probability - label)
      backward(parameters, gradient)
      return probability
    },
  }
}
