/**
 * Learns a network from one ripened label after the other: each mini-batch is the newest rows and what is drawn from two memories, one of
 * either class. Made for the perceptron, and for logistic regression, which is one without hidden layers.
 */
import assert from 'node:assert/strict'
import type { ModelWeights } from '../../schemas/plan/model-plan.ts'
import { createAdam } from './adam.ts'
import { createBatch, createGradient } from './gradient.ts'
import { type InputScales, standardise } from './input-scales.ts'
import { openState, type StateArrays, sealState } from './learner-state.ts'
import type { LearnerStart, OnlineLearner, Predict } from './model.ts'
import { firstParameters, type Network } from './network.ts'
import { createRandom } from './random.ts'
import { createReplayMemory, type ReplayMemory } from './replay-memory.ts'
import { createRunningScales } from './running-scales.ts'
import type { Tensors } from './tensors.ts'

export interface NetworkLearning {
  readonly network: Network
  /** What the state of such a learner belongs to: anything that JSON can spell. */
  readonly owner: unknown
  readonly learningRate: number
  readonly decay: number
  readonly tuning: Tuning
  /** Whether the inputs are signed logarithms. */
  readonly isLogarithmic: boolean
  exported(scales: InputScales, parameters: Float64Array): ModelWeights
  scored(weights: ModelWeights): Predict
}

export interface Tuning {
  /** New rows that a round of steps waits for. */
  readonly newRows: number
  /** Drawn into each step from either memory. */
  readonly positiveDraws: number
  readonly negativeDraws: number
  /** Steps of a round: the new rows are in the first, the others are of draws alone. */
  readonly steps: number
  readonly positivesKept: number
  readonly negativesKept: number
  /** The part by which the published parameters follow the learnt ones in a step. */
  readonly averaging: number
}

/** Beyond so much weight the past fades from the share of positives. */
const shareMemoryWeight = 100_000
/** Values that the memory of negatives may hold, 8 MB of them; that of positives a quarter. Wide vectors are remembered for less long. */
const valuesMax = 1_048_576
/** A step's size climbs over so many steps. */
const warmUpSteps = 100

export function createNetworkLearner(tensors: Tensors, learning: NetworkLearning, start: LearnerStart): OnlineLearner {
  const { network, owner, decay, tuning } = learning
  const width = network.layers[0]!.inputs
  const random = createRandom(start.seed)
  const parameters = firstParameters(network, 0, random)
  const averaged = parameters.slice()
  const adam = createAdam(network, decay)
  const scales = createRunningScales(width, learning.isLogarithmic)
  const positives = createReplayMemory(Math.min(tuning.positivesKept, Math.ceil(valuesMax / 4 / width)), width)
  const negatives = createReplayMemory(Math.min(tuning.negativesKept, Math.ceil(valuesMax / width)), width)
  /** Weight of all rows and of the positive ones, fading. */
  const classes = new Float64Array(2)
  const pending = {
    rows: new Float64Array(tuning.newRows * width),
    labels: new Uint8Array(tuning.newRows),
    weights: new Float64Array(tuning.newRows),
    count: Uint32Array.of(0),
  }
  const arrays: StateArrays = {
    parameters,
    averaged,
    'adam.first': adam.first,
    'adam.second': adam.second,
    'adam.steps': adam.steps,
    ...scales.arrays,
    ...positives.arrays('positives'),
    ...negatives.arrays('negatives'),
    classes,
    'pending.rows': pending.rows,
    'pending.labels': pending.labels,
    'pending.weights': pending.weights,
    'pending.count': pending.count,
    random: random.state,
  }
  if (start.state) openState(start.state, owner, arrays)

  const draws = tuning.positiveDraws + tuning.negativeDraws
  const rowsMax = tuning.newRows + draws
  const batch = createBatch(rowsMax, width)
  const gradientOf = createGradient(tensors, network, rowsMax)
  const drawn = { slots: new Uint32Array(draws), shares: new Float64Array(draws) }
  /** Where each row of the batch came from, to tell its memory how it is scored now. */
  const sources: Array<{ readonly memory: ReplayMemory; readonly slot: number } | null> = []
  let predict: Predict | null = null

  function add(vector: ArrayLike<number>, label: number, share: number, source: (typeof sources)[number]): void {
    standardise(vector, scales.current, batch.inputs, batch.count * width)
    batch.labels[batch.count] = label
    batch.weights[batch.count] = share
    sources[batch.count++] = source
  }

  function addDraws(memory: ReplayMemory, label: number, count: number): void {
    if (memory.size() === 0) return
    const slots = drawn.slots.subarray(0, count)
    const shares = drawn.shares.subarray(0, count)
    memory.draw(slots, shares, random)
    slots.forEach((slot, i) => {
      add(memory.vectorAt(slot), label, shares[i]!, { memory, slot })
    })
  }

  /** Each class counts for its share of all events, however many rows of it were drawn. */
  function balance(): void {
    const sums = [0, 0]
    for (let row = 0; row < batch.count; row++) sums[batch.labels[row]!]! += batch.weights[row]!
    const share = classes[1]! / classes[0]!
    const factors = [(1 - share) / sums[0]!, share / sums[1]!]
    for (let row = 0; row < batch.count; row++) batch.weights[row]! *= factors[batch.labels[row]!]!
  }

  function step(withNew: boolean): void {
    batch.count = 0
    if (withNew) {
      const meanWeight = pending.weights.reduce((sum, weight) => sum + weight, 0) / tuning.newRows
      for (let row = 0; row < tuning.newRows; row++)
        add(
          pending.rows.subarray(row * width, (row + 1) * width),
          pending.labels[row]!,
          pending.weights[row]! / meanWeight,
          null,
        )
    }
    addDraws(positives, 1, tuning.positiveDraws)
    addDraws(negatives, 0, tuning.negativeDraws)
    balance()
    const gradient = gradientOf(parameters, batch)
    assert(Number.isFinite(gradient.loss), `the learner's loss is ${gradient.loss} at step ${adam.steps[0]! + 1}`)
    const rate = learning.learningRate * Math.min(1, (adam.steps[0]! + 1) / warmUpSteps)
    adam.step(parameters, gradient.values, rate)
    const following = Math.max(tuning.averaging, 1 / (adam.steps[0]! + 1))
    for (let i = 0; i < parameters.length; i++) averaged[i]! += following * (parameters[i]! - averaged[i]!)
    for (let row = 0; row < batch.count; row++) {
      const error = Math.abs(1 / (1 + Math.exp(-gradient.margins[row]!)) - batch.labels[row]!)
      const source = sources[row]!
      if (source) source.memory.setPriority(source.slot, error)
      else {
        const memory = batch.labels[row] === 1 ? positives : negatives
        memory.keep(pending.rows.subarray(row * width, (row + 1) * width), pending.weights[row]!, error)
      }
    }
  }

  function takeRound(): void {
    scales.add(pending.rows, pending.weights, tuning.newRows)
    for (let row = 0; row < tuning.newRows; row++) {
      const weight = pending.weights[row]!
      const fading = Math.min(1, shareMemoryWeight / (classes[0]! + weight))
      classes[0] = (classes[0]! + weight) * fading
      classes[1] = (classes[1]! + weight * pending.labels[row]!) * fading
    }
    if (adam.steps[0] === 0) {
      // An untrained network says the share of positives, as far as it is known.
      const bias = Math.log((classes[1]! + 1) / (classes[0]! - classes[1]! + 1))
      parameters[network.parameterCount - 1] = bias
      averaged[network.parameterCount - 1] = bias
    }
    for (let i = 0; i < tuning.steps; i++) step(i === 0)
    pending.count[0] = 0
    predict = null
  }

  return {
    learn(vector, label, weight = 1) {
      if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a learner of ${width}`)
      const row = pending.count[0]!
      for (let i = 0; i < width; i++) pending.rows[row * width + i] = vector[i]!
      pending.labels[row] = label
      pending.weights[row] = weight
      pending.count[0] = row + 1
      if (row + 1 === tuning.newRows) takeRound()
    },
    predict(vector) {
      predict ??= learning.scored(learning.exported(scales.current, averaged))
      return predict(vector)
    },
    weights: () => learning.exported(scales.current, averaged),
    save: () => sealState(owner, arrays),
    close: () => undefined,
  }
}
