/**
 * Multilayer perceptron: labelled vectors in, weights out. TensorFlow.js computes the gradients of a mini-batch in a few operations; the
 * optimiser runs over plain arrays, where a step costs microseconds instead of sixty small operations.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { LayerWeights, MlpPlan, MlpWeights } from '../../schemas/models/mlp.ts'
import { createAdam } from './adam.ts'
import { type Batch, createBatch, createGradient } from './gradient.ts'
import { type InputScales, signedLog, standardise } from './input-scales.ts'
import type { Checks } from './json-checks.ts'
import { mlpScoring } from './mlp-scoring.ts'
import type {
  FitOptions,
  Fitted,
  LearnerStart,
  Model,
  ModelCode,
  OnlineLearner,
  TrainingRows,
  WeightsSummary,
} from './model.ts'
import { firstParameters, layerWeights, type Network, networkOf, withoutUnlearnt } from './network.ts'
import { createNetworkLearner, type NetworkLearning, type Tuning } from './network-learner.ts'
import { norm } from './norm.ts'
import { createRandom, type Random } from './random.ts'
import { columnScales } from './standardise.ts'
import { openTensors, type Tensors } from './tensors.ts'
import { giveWay, requireBothClasses } from './training-rows.ts'
import { positiveEach, standardising } from './weights-checks.ts'

export const mlpCode: ModelCode<MlpPlan, MlpWeights> = {
  title: ({ hidden }) => `perceptron ${hidden.join('-')}`,
  create: createMlp,
  scoring: (weights) => mlpScoring(weights),
  summary: summaryOf,
  numbers: ({ layers }) => layers.flatMap((layer) => [...layer.weights, ...layer.biases]),
  fromJson: (model, features, check) => ({
    kind: 'mlp',
    features,
    units: positiveEach('units', model, features, check),
    ...standardising(model, features, check),
    layers: layersFrom(model.layers, features.length, check),
  }),
}

function createMlp(plan: MlpPlan): Model {
  return {
    kind: 'mlp',
    fit: (training, options) => fitMlp(plan, training, options),
    learner: async (features, start) => createLearner(plan, features, await openTensors(), start),
  }
}

/** A learner's step size never falls, so it is a part of the fit's highest. */
const learnerRateShare = 0.4
/** Found on July of the Handbook's data: what costs more was worth less than .01 of average precision there. */
const tuning: Tuning = {
  newRows: 256,
  positiveDraws: 16,
  negativeDraws: 496,
  steps: 2,
  positivesKept: 4_096,
  negativesKept: 65_536,
  averaging: 0.001,
}

function createLearner(
  { hidden, learningRate, l2 }: MlpPlan,
  features: readonly string[],
  tensors: Tensors,
  start: LearnerStart,
): OnlineLearner {
  const network = networkOf(features.length, hidden)
  const learning: NetworkLearning = {
    network,
    owner: { kind: 'mlp', features, hidden, tuning },
    learningRate: learningRate * learnerRateShare,
    decay: l2,
    tuning,
    isLogarithmic: true,
    exported: (scales, parameters) => exported(features, scales, network, parameters),
    scored: (weights) => mlpScoring(weights as MlpWeights).predict,
  }
  return createNetworkLearner(tensors, learning, start)
}

function exported(
  features: readonly string[],
  { units, means, scales }: InputScales,
  network: Network,
  parameters: Float64Array,
): MlpWeights {
  const layers = layerWeights(network, parameters)
  assert(units !== null, 'a perceptron without units')
  return { kind: 'mlp', features: [...features], units: [...units], means: [...means], scales: [...scales], layers }
}

/** The first part of all steps climbs to the full step size, the rest falls from there to nothing along a half cosine. */
const warmUpShare = 0.05

async function fitMlp(plan: MlpPlan, training: TrainingRows, options: FitOptions): Promise<Fitted> {
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  const { positiveWeight, negativeWeight } = requireBothClasses(training, 'A multilayer perceptron')
  const { rowCount, features } = training
  const scales = inputScales(training)
  const inputs = standardised(training, scales)
  const tensors = await openTensors()
  const random = createRandom(options.seed)
  const network = networkOf(features.length, plan.hidden)
  const parameters = firstParameters(network, Math.log(positiveWeight / negativeWeight), random)
  const adam = createAdam(network, plan.l2)
  const meanWeight = (positiveWeight + negativeWeight) / rowCount

  const batchRows = Math.min(plan.batchRows, rowCount)
  const batches = Math.ceil(rowCount / batchRows)
  const stepsTotal = batches * plan.epochs
  const order = Uint32Array.from({ length: rowCount }, (_, row) => row)
  const batch = createBatch(batchRows, features.length)
  const gradientOf = createGradient(tensors, network, batchRows)
  let steps = 0
  for (let epoch = 1; epoch <= plan.epochs; epoch++) {
    shuffle(order, random)
    let loss = 0
    for (let from = 0; from < rowCount; from += batchRows) {
      fill(batch, order.subarray(from, from + batchRows), { training, inputs, meanWeight })
      const gradient = gradientOf(parameters, batch)
      loss += gradient.loss
      adam.step(parameters, gradient.values, plan.learningRate * rateAt(steps++ / stepsTotal))
      await giveWay(signal)
    }
    if (!Number.isFinite(loss)) throw diverged(plan, epoch)
    onProgress?.(epoch / plan.epochs, `epoch ${epoch} of ${plan.epochs}, log-loss ${(loss / batches).toFixed(5)}`)
  }
  const hasVaried = variedColumns(training)
  return {
    weights: exported(
      features,
      scales,
      network,
      withoutUnlearnt(network, parameters, (input) => hasVaried[input]!),
    ),
    note: `${plan.epochs} epochs of ${batches} steps on ${tensors.backend}`,
  }
}

function diverged({ learningRate }: MlpPlan, epoch: number): PipelineError {
  return new PipelineError(
    'model_untrainable',
    `The perceptron's loss is no number any more in epoch ${epoch}; lower the model's learningRate (now ${learningRate}).`,
    { details: { epoch } },
  )
}

function rateAt(done: number): number {
  if (done < warmUpShare) return (done + 1e-3) / (warmUpShare + 1e-3)
  return 0.5 + 0.5 * Math.cos((Math.PI * (done - warmUpShare)) / (1 - warmUpShare))
}

/** Deviations of the values are the units of their logarithms, which are standardised in turn. */
function inputScales(training: TrainingRows): InputScales {
  const { scales: units } = columnScales(training)
  const width = units.length
  const rows = training.rows.map((value, at) => signedLog(value, units[at % width]!))
  return { units, ...columnScales({ ...training, rows }) }
}

function standardised({ rows, rowCount, features }: TrainingRows, scales: InputScales): Float32Array {
  const width = features.length
  const inputs = new Float32Array(rowCount * width)
  for (let at = 0; at < inputs.length; at += width) standardise(rows, at, scales, inputs, at)
  return inputs
}

/** Of each column whether two of its values differ. */
function variedColumns({ rows, rowCount, features: { length: width } }: TrainingRows): boolean[] {
  const first = new Float64Array(width).fill(Number.NaN)
  const varied = new Array<boolean>(width).fill(false)
  for (let at = 0, column = 0; at < rowCount * width; at++, column = column + 1 === width ? 0 : column + 1) {
    const value = rows[at]!
    if (Number.isNaN(value)) continue
    if (Number.isNaN(first[column]!)) first[column] = value
    else if (value !== first[column]) varied[column] = true
  }
  return varied
}

function shuffle(order: Uint32Array, random: Random): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const kept = order[i]!
    order[i] = order[j]!
    order[j] = kept
  }
}

interface Rows {
  readonly training: TrainingRows
  readonly inputs: Float32Array
  readonly meanWeight: number
}

/** Sample weights over their mean and the number of rows, so that the gradient is that of the mean loss. */
function fill(batch: Batch, rows: Uint32Array, { training, inputs, meanWeight }: Rows): void {
  const width = training.features.length
  batch.count = rows.length
  for (let at = 0; at < rows.length; at++) {
    const row = rows[at]!
    for (let i = 0; i < width; i++) batch.inputs[at * width + i] = inputs[row * width + i]!
    batch.labels[at] = training.labels[row]!
    batch.weights[at] = (training.weights === null ? 1 : training.weights[row]! / meanWeight) / rows.length
  }
}

function summaryOf({ features, layers }: MlpWeights): WeightsSummary {
  const hidden = layers.slice(0, -1).map(({ biases }) => biases.length)
  const units = hidden[0] ?? 1
  const first = layers[0]!.weights
  return {
    shape: `mlp ${hidden.join('-')}`,
    parameters: layers.reduce((sum, layer) => sum + layer.weights.length + layer.biases.length, 0),
    meaning: 'norm of the weights out of each input',
    values: features.map((feature, i) => ({ feature, value: norm(first.slice(i * units, (i + 1) * units)) })),
  }
}

function layersFrom(value: unknown, width: number, check: Checks): LayerWeights[] {
  const found = check.list(value, 'model.layers')
  let inputs = width
  const layers = found.map((entry, l) => {
    const path = `model.layers[${l}]`
    const layer = check.object(entry, path)
    const weights = check.numbers(layer.weights, `${path}.weights`)
    const biases = check.numbers(layer.biases, `${path}.biases`)
    if (weights.length !== inputs * biases.length) {
      const expected = `${inputs * biases.length} values, one for each of ${inputs} inputs and ${biases.length} units`
      check.note(`${path}.weights`, expected, `${weights.length}`)
    }
    inputs = biases.length
    return { weights, biases }
  })
  if (found.length === 0 || inputs !== 1)
    check.note('model.layers', 'layers of which the last has one unit', `${inputs}`)
  return layers
}
