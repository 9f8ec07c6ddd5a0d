/**
 * Learns a network from one label after the other: each mini-batch is the newest rows and rows drawn from two memories, one of each class.
 * Made for the perceptron, and for logistic regression, which is one without hidden layers.
 */
import assert from 'node:assert/strict'
import type { ModelWeights } from '../../schemas/models/models.ts'
import { type Adam, createAdam } from './adam.ts'
import { type Batch, createBatch, createGradient, type Gradient } from './gradient.ts'
import { type InputScales, standardise } from './input-scales.ts'
import { openState, type StateArrays, sealState } from './learner-state.ts'
import type { LearnerStart, OnlineLearner, Predict } from './model.ts'
import { firstParameters, type Network, withoutUnlearnt } from './network.ts'
import { createRandom, type Random } from './random.ts'
import { createReplayMemory, type ReplayMemory } from './replay-memory.ts'
import { createRunningScales, type RunningScales } from './running-scales.ts'
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

/** Rows that wait for the next round, oldest first. */
interface PendingRows {
  readonly rows: Float64Array
  readonly labels: Uint8Array
  readonly weights: Float64Array
  /** One number, so that it is saved with the rest. */
  readonly count: Uint32Array
}

/** Where a row of the batch came from. */
interface Source {
  readonly memory: ReplayMemory
  readonly slot: number
}

interface LearnerState {
  readonly learning: NetworkLearning
  readonly width: number
  readonly random: Random
  readonly parameters: Float64Array
  /** Follow `parameters` slowly: what is published and predicted with. */
  readonly averaged: Float64Array
  readonly adam: Adam
  readonly scales: RunningScales
  readonly positives: ReplayMemory
  readonly negatives: ReplayMemory
  /** Weight of all rows and of the positive ones, fading. */
  readonly classes: Float64Array
  readonly pending: PendingRows
  readonly batch: Batch
  readonly gradientOf: (parameters: Float64Array, batch: Batch) => Gradient
  /** Buffers for what is drawn from a memory. */
  readonly drawn: { readonly slots: Uint32Array; readonly shares: Float64Array }
  /** Of each row of the batch, so that its memory learns how it is scored now; null for a new row. */
  readonly sources: Array<Source | null>
}

export function createNetworkLearner(tensors: Tensors, learning: NetworkLearning, start: LearnerStart): OnlineLearner {
  const state = newState(tensors, learning, start.seed)
  const { width, pending, averaged, scales } = state
  const arrays = arraysOf(state)
  if (start.state) openState(start.state, learning.owner, arrays)
  const weights = () => learning.exported(scales.current, withoutUnlearnt(learning.network, averaged, scales.hasVaried))
  let predict: Predict | null = null
  return {
    learn(vector, label, weight = 1) {
      if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a learner of ${width}`)
      const row = pending.count[0]!
      for (let i = 0; i < width; i++) pending.rows[row * width + i] = vector[i]!
      pending.labels[row] = label
      pending.weights[row] = weight
      pending.count[0] = row + 1
      if (row + 1 < learning.tuning.newRows) return
      takeRound(state)
      predict = null
    },
    predict(vector) {
      predict ??= learning.scored(weights())
      return predict(vector)
    },
    weights,
    save: () => sealState(learning.owner, arrays),
    close: () => undefined,
  }
}

function newState(tensors: Tensors, learning: NetworkLearning, seed: number): LearnerState {
  const { network, decay, tuning } = learning
  const width = network.layers[0]!.inputs
  const random = createRandom(seed)
  const parameters = firstParameters(network, 0, random)
  const draws = tuning.positiveDraws + tuning.negativeDraws
  const rowsMax = tuning.newRows + draws
  return {
    learning,
    width,
    random,
    parameters,
    averaged: parameters.slice(),
    adam: createAdam(network, decay),
    scales: createRunningScales(width, learning.isLogarithmic),
    positives: createReplayMemory(Math.min(tuning.positivesKept, Math.ceil(valuesMax / 4 / width)), width),
    negatives: createReplayMemory(Math.min(tuning.negativesKept, Math.ceil(valuesMax / width)), width),
    classes: new Float64Array(2),
    pending: {
      rows: new Float64Array(tuning.newRows * width),
      labels: new Uint8Array(tuning.newRows),
      weights: new Float64Array(tuning.newRows),
      count: Uint32Array.of(0),
    },
    batch: createBatch(rowsMax, width),
    gradientOf: createGradient(tensors, network, rowsMax),
    drawn: { slots: new Uint32Array(draws), shares: new Float64Array(draws) },
    sources: [],
  }
}

/** Everything that the next round depends on, by the names under which it is saved. */
function arraysOf(state: LearnerState): StateArrays {
  const { adam, pending } = state
  return {
    parameters: state.parameters,
    averaged: state.averaged,
    'adam.first': adam.first,
    'adam.second': adam.second,
    'adam.steps': adam.steps,
    ...state.scales.arrays,
    ...state.positives.arrays('positives'),
    ...state.negatives.arrays('negatives'),
    classes: state.classes,
    'pending.rows': pending.rows,
    'pending.labels': pending.labels,
    'pending.weights': pending.weights,
    'pending.count': pending.count,
    random: state.random.state,
  }
}

/** Learns from the pending rows, which are as many as a round takes. */
function takeRound(state: LearnerState): void {
  const { pending, classes, parameters, averaged, learning } = state
  const { tuning, network } = learning
  state.scales.add(pending.rows, pending.weights, tuning.newRows)
  for (let row = 0; row < tuning.newRows; row++) {
    const weight = pending.weights[row]!
    const fading = Math.min(1, shareMemoryWeight / (classes[0]! + weight))
    classes[0] = (classes[0]! + weight) * fading
    classes[1] = (classes[1]! + weight * pending.labels[row]!) * fading
  }
  if (state.adam.steps[0] === 0) {
    // An untrained network predicts the share of positives, as far as it is known.
    const bias = Math.log((classes[1]! + 1) / (classes[0]! - classes[1]! + 1))
    parameters[network.parameterCount - 1] = bias
    averaged[network.parameterCount - 1] = bias
  }
  for (let i = 0; i < tuning.steps; i++) step(state, i === 0)
  pending.count[0] = 0
}

/** One step of the optimiser over a mini-batch, with the pending rows in it or only with draws. */
function step(state: LearnerState, withPending: boolean): void {
  const { batch, learning, parameters, averaged, adam } = state
  const { tuning } = learning
  batch.count = 0
  if (withPending) addPending(state)
  addDraws(state, state.positives, 1, tuning.positiveDraws)
  addDraws(state, state.negatives, 0, tuning.negativeDraws)
  balance(batch, state.classes)
  const gradient = state.gradientOf(parameters, batch)
  assert(Number.isFinite(gradient.loss), `the learner's loss is ${gradient.loss} at step ${adam.steps[0]! + 1}`)
  const rate = learning.learningRate * Math.min(1, (adam.steps[0]! + 1) / warmUpSteps)
  adam.step(parameters, gradient.values, rate)
  const following = Math.max(tuning.averaging, 1 / (adam.steps[0]! + 1))
  for (let i = 0; i < parameters.length; i++) averaged[i]! += following * (parameters[i]! - averaged[i]!)
  remember(state, gradient.margins)
}

function addPending(state: LearnerState): void {
  const { pending, width, learning } = state
  const { newRows } = learning.tuning
  const meanWeight = pending.weights.reduce((sum, weight) => sum + weight, 0) / newRows
  for (let row = 0; row < newRows; row++) {
    const vector = pending.rows.subarray(row * width, (row + 1) * width)
    addRow(state, vector, pending.labels[row]!, pending.weights[row]! / meanWeight, null)
  }
}

function addDraws(state: LearnerState, memory: ReplayMemory, label: number, count: number): void {
  if (memory.size() === 0) return
  const slots = state.drawn.slots.subarray(0, count)
  const shares = state.drawn.shares.subarray(0, count)
  memory.draw(slots, shares, state.random)
  slots.forEach((slot, i) => {
    addRow(state, memory.vectorAt(slot), label, shares[i]!, { memory, slot })
  })
}

function addRow(
  { batch, scales, width, sources }: LearnerState,
  vector: ArrayLike<number>,
  label: number,
  share: number,
  source: Source | null,
): void {
  standardise(vector, 0, scales.current, batch.inputs, batch.count * width)
  batch.labels[batch.count] = label
  batch.weights[batch.count] = share
  sources[batch.count++] = source
}

/** Each class counts for its share of all events, however many rows of it were drawn. */
function balance(batch: Batch, classes: Float64Array): void {
  const sums = [0, 0]
  for (let row = 0; row < batch.count; row++) sums[batch.labels[row]!]! += batch.weights[row]!
  const share = classes[1]! / classes[0]!
  const factors = [(1 - share) / sums[0]!, share / sums[1]!]
  for (let row = 0; row < batch.count; row++) batch.weights[row]! *= factors[batch.labels[row]!]!
}

/** New rows enter the memory of their class, and drawn ones get the priority of their error as of now. */
function remember(state: LearnerState, margins: ArrayLike<number>): void {
  const { batch, pending, width, sources } = state
  for (let row = 0; row < batch.count; row++) {
    const error = Math.abs(1 / (1 + Math.exp(-margins[row]!)) - batch.labels[row]!)
    const source = sources[row]!
    if (source) source.memory.setPriority(source.slot, error)
    else {
      const memory = batch.labels[row] === 1 ? state.positives : state.negatives
      memory.keep(pending.rows.subarray(row * width, (row + 1) * width), pending.weights[row]!, error)
    }
  }
}
