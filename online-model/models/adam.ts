/** Adam with decoupled weight decay (Loshchilov and Hutter) over all parameters of a network. Called by the fit and by the learner. */
import type { Network } from './network.ts'

const firstDecay = 0.9
const secondDecay = 0.999
const epsilon = 1e-8

export interface Adam {
  /** Moves the parameters against the gradient of a mini-batch's mean loss. */
  step(parameters: Float64Array, gradient: ArrayLike<number>, rate: number): void
  /** Means of the gradients, of their squares, and the number of steps: saved and restored by the owner. */
  readonly first: Float64Array
  readonly second: Float64Array
  readonly steps: Float64Array
}

/** `decay`: of weights, not of biases. */
export function createAdam({ layers, parameterCount }: Network, decay: number): Adam {
  const first = new Float64Array(parameterCount)
  const second = new Float64Array(parameterCount)
  const steps = Float64Array.of(0)
  return {
    step(parameters, gradient, rate) {
      steps[0]! += 1
      const size = rate / (1 - firstDecay ** steps[0]!)
      const correction = 1 / (1 - secondDecay ** steps[0]!)
      for (const { weightsAt, biasesAt, units } of layers) {
        for (let i = weightsAt; i < biasesAt + units; i++) {
          const slope = gradient[i]!
          const mean = firstDecay * first[i]! + (1 - firstDecay) * slope
          const square = secondDecay * second[i]! + (1 - secondDecay) * slope * slope
          first[i] = mean
          second[i] = square
          const decayed = i < biasesAt ? rate * decay * parameters[i]! : 0
          parameters[i]! -= (size * mean) / (Math.sqrt(square * correction) + epsilon) + decayed
        }
      }
    },
    first,
    second,
    steps,
  }
}
