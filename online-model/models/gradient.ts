/**
 * The gradient of a mini-batch's loss: a dozen operations of TensorFlow.js, called by the fit and by the learner of the perceptron. It
 * holds no tensor from one call to the next.
 */
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core'
import type { Network } from './network.ts'
import type { Tensors } from './tensors.ts'

export interface Batch {
  /** Rows that are filled in. */
  count: number
  /** Row-major, standardised. */
  readonly inputs: Float32Array
  readonly labels: Float32Array
  /** What each row's loss counts for: the loss of the batch is their weighted sum. */
  readonly weights: Float32Array
}

export function createBatch(rowsMax: number, width: number): Batch {
  return {
    count: 0,
    inputs: new Float32Array(rowsMax * width),
    labels: new Float32Array(rowsMax),
    weights: new Float32Array(rowsMax),
  }
}

export interface Gradient {
  /** In the layout of the parameters. */
  readonly values: Float64Array
  /** The parameters' log odds for each row of the batch. */
  readonly margins: Float32Array
  /** The batch's loss; not a number once the parameters are none. */
  loss: number
}

/** The answer is overwritten by the next call. */
export function createGradient(
  { tf }: Tensors,
  { layers, parameterCount }: Network,
  rowsMax: number,
): (parameters: Float64Array, batch: Batch) => Gradient {
  const gradient: Gradient = { values: new Float64Array(parameterCount), margins: new Float32Array(rowsMax), loss: 0 }
  const width = layers[0]!.inputs
  const copy = (values: Float32Array | Float64Array, from: number, until: number) =>
    new Float32Array(values.subarray(from, until))

  return (parameters, batch) => {
    const { count } = batch
    tf.tidy(() => {
      const weights = layers.map(({ inputs, units, weightsAt, biasesAt }) =>
        tf.tensor2d(copy(parameters, weightsAt, biasesAt), [inputs, units]),
      )
      const outputs: Tensor2D[] = [tf.tensor2d(copy(batch.inputs, 0, count * width), [count, width])]
      layers.forEach(({ units, biasesAt }, l) => {
        const bias = tf.tensor1d(copy(parameters, biasesAt, biasesAt + units))
        const activation = l === layers.length - 1 ? 'linear' : 'relu'
        outputs.push(tf.fused.matMul({ a: outputs[l]!, b: weights[l]!, bias, activation }) as Tensor2D)
      })
      gradient.margins.set(outputs.at(-1)!.dataSync())

      let slope: Tensor2D = tf.tensor2d(slopesOf(batch, gradient), [count, 1])
      for (let l = layers.length - 1; l >= 0; l--) {
        const { weightsAt, biasesAt } = layers[l]!
        // A product with a transposed argument is several times slower in WebAssembly than transposing before.
        gradient.values.set(tf.matMul<Tensor2D>(tf.transpose(outputs[l]!), slope).dataSync(), weightsAt)
        gradient.values.set(tf.sum<Tensor1D>(slope, 0).dataSync(), biasesAt)
        if (l > 0) slope = tf.mul<Tensor2D>(tf.matMul(slope, tf.transpose(weights[l]!)), tf.step(outputs[l]!))
      }
    })
    return gradient
  }
}

/** Loss and slope at the output are one number a row: cheaper here than as a handful of operations. */
function slopesOf({ count, labels, weights }: Batch, gradient: Gradient): Float32Array {
  const slopes = new Float32Array(count)
  gradient.loss = 0
  for (let row = 0; row < count; row++) {
    const [margin, label, weight] = [gradient.margins[row]!, labels[row]!, weights[row]!]
    const tail = Math.exp(-Math.abs(margin))
    const probability = margin >= 0 ? 1 / (1 + tail) : tail / (1 + tail)
    gradient.loss += weight * (Math.log1p(tail) + Math.max(label === 1 ? -margin : margin, 0))
    slopes[row] = weight * (probability - label)
  }
  return slopes
}
