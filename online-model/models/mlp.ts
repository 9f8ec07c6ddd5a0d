/**
 * Multilayer perceptron: labelled vectors in, weights out. TensorFlow.js computes the gradients of a mini-batch in a few operations; the
 * optimiser runs over plain arrays, where a step costs microseconds instead of sixty small operations.
 */
import type { Tensor2D } from '@tensorflow/tfjs-core'
import { PipelineError } from '../../schemas/errors.ts'
import type { MlpPlan } from '../../schemas/model-plan.ts'
import { createAdam } from './adam.ts'
import type { FitOptions, Fitted, Model, TrainingRows } from './model.ts'
import { firstParameters, inputMax, layerWeights, type Network, networkOf } from './network.ts'
import { createRandom, type Random } from './random.ts'
import { type ColumnScales, columnScales } from './standardise.ts'
import { openTensors, type Tensors } from './tensors.ts'
import { giveWay, requireBothClasses } from './training-rows.ts'

export function createMlp(plan: MlpPlan): Model {
  return { kind: 'mlp', fit: (training, options) => fitMlp(plan, training, options), learner: null }
}

/** The first part of all steps climbs to the full step size, the rest falls from there to nothing along a half cosine. */
const warmUpShare = 0.05

async function fitMlp(plan: MlpPlan, training: TrainingRows, options: FitOptions): Promise<Fitted> {
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  const { positiveWeight, negativeWeight } = requireBothClasses(training, 'A multilayer perceptron')
  const { rowCount, features } = training
  const scales = columnScales(training)
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
  const batch = createBatch(training, inputs, batchRows, meanWeight)
  let steps = 0
  for (let epoch = 1; epoch <= plan.epochs; epoch++) {
    shuffle(order, random)
    let loss = 0
    for (let from = 0; from < rowCount; from += batchRows) {
      batch.fill(order.subarray(from, from + batchRows))
      const found = gradientOf(tensors, network, parameters, batch)
      loss += found.loss
      adam.step(parameters, found.gradient, plan.learningRate * rateAt(steps++ / stepsTotal))
      await giveWay(signal)
    }
    if (!Number.isFinite(loss)) throw diverged(plan, epoch)
    onProgress?.(epoch / plan.epochs, `epoch ${epoch} of ${plan.epochs}, log-loss ${(loss / batches).toFixed(5)}`)
  }
  const { means, scales: deviations } = scales
  return {
    weights: {
      kind: 'mlp',
      features: [...features],
      means: [...means],
      scales: [...deviations],
      layers: layerWeights(network, parameters),
    },
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

function standardised({ rows, rowCount, features }: TrainingRows, { means, scales }: ColumnScales): Float32Array {
  const width = features.length
  const inputs = new Float32Array(rowCount * width)
  for (let at = 0, column = 0; at < inputs.length; at++, column = column + 1 === width ? 0 : column + 1) {
    const value = (rows[at]! - means[column]!) / scales[column]!
    inputs[at] = Number.isNaN(value) ? 0 : Math.min(Math.max(value, -inputMax), inputMax)
  }
  return inputs
}

function shuffle(order: Uint32Array, random: Random): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const kept = order[i]!
    order[i] = order[j]!
    order[j] = kept
  }
}

interface Batch {
  fill(rows: Uint32Array): void
  /** Of the rows that were filled in. */
  count: number
  readonly inputs: Float32Array
  readonly labels: Float32Array
  /** Sample weights over their mean and the number of rows: the gradient is that of the mean loss. */
  readonly weights: Float32Array
}

function createBatch(training: TrainingRows, inputs: Float32Array, batchRows: number, meanWeight: number): Batch {
  const width = training.features.length
  const batch: Batch = {
    count: 0,
    inputs: new Float32Array(batchRows * width),
    labels: new Float32Array(batchRows),
    weights: new Float32Array(batchRows),
    fill(rows) {
      batch.count = rows.length
      for (let at = 0; at < rows.length; at++) {
        const row = rows[at]!
        batch.inputs.set(inputs.subarray(row * width, (row + 1) * width), at * width)
        batch.labels[at] = training.labels[row]!
        batch.weights[at] = (training.weights === null ? 1 : training.weights[row]! / meanWeight) / rows.length
      }
    },
  }
  return batch
}

/** Mean loss of the batch, and its gradient in the layout of the parameters. */
function gradientOf(
  { tf }: Tensors,
  { layers, parameterCount }: Network,
  parameters: Float64Array,
  batch: Batch,
): { readonly loss: number; readonly gradient: Float64Array } {
  const { count } = batch
  const gradient = new Float64Array(parameterCount)
  let loss = 0
  const floats = (from: number, until: number) => Float32Array.from(parameters.subarray(from, until))
  tf.tidy(() => {
    const column = (values: Float32Array) => tf.tensor2d(values.slice(0, count), [count, 1])
    const width = layers[0]!.inputs
    const weights = layers.map(({ inputs, units, weightsAt, biasesAt }) =>
      tf.tensor2d(floats(weightsAt, biasesAt), [inputs, units]),
    )
    const outputs: Tensor2D[] = [tf.tensor2d(batch.inputs.slice(0, count * width), [count, width])]
    layers.forEach(({ units, biasesAt }, l) => {
      const bias = tf.tensor1d(floats(biasesAt, biasesAt + units))
      const isLast = l === layers.length - 1
      outputs.push(
        tf.fused.matMul({ a: outputs[l]!, b: weights[l]!, bias, activation: isLast ? 'linear' : 'relu' }) as Tensor2D,
      )
    })
    const margins = outputs.at(-1)!.dataSync()
    // The loss and its slope at the output are one number a row: cheaper here than as a handful of operations.
    const slopes = new Float32Array(count)
    for (let row = 0; row < count; row++) {
      const [margin, label, weight] = [margins[row]!, batch.labels[row]!, batch.weights[row]!]
      const tail = Math.exp(-Math.abs(margin))
      const probability = margin >= 0 ? 1 / (1 + tail) : tail / (1 + tail)
      loss += weight * (Math.log1p(tail) + Math.max(label === 1 ? -margin : margin, 0))
      slopes[row] = weight * (probability - label)
    }
    let slope = column(slopes)
    const ones = tf.ones([1, count])
    for (let l = layers.length - 1; l >= 0; l--) {
      const { weightsAt, biasesAt } = layers[l]!
      gradient.set(tf.matMul<Tensor2D>(outputs[l]!, slope, true, false).dataSync(), weightsAt)
      gradient.set(tf.matMul<Tensor2D>(ones, slope).dataSync(), biasesAt)
      if (l > 0) slope = tf.mul<Tensor2D>(tf.matMul(slope, weights[l]!, false, true), tf.step(outputs[l]!))
    }
  })
  return { loss, gradient }
}
