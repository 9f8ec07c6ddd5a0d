/**
 * TensorFlow.js, opened once a process: the native binding where it is installed and works, else WebAssembly on one thread, which gives
 * the same bits on every run. Called by the fit of the perceptron.
 */
import assert from 'node:assert/strict'

export type TensorFlow = typeof import('@tensorflow/tfjs-core')

export interface Tensors {
  readonly tf: TensorFlow
  /** `tensorflow` (native) or `wasm`, with what was wrong with an installed native binding. */
  readonly backend: string
}

/** Optional: it need not be installed. */
const nativePackage = '@tensorflow/tfjs-node'
let opened: Promise<Tensors> | null = null

/** The same answer for all callers: backends are registered once a process. */
export function openTensors(): Promise<Tensors> {
  opened ??= open((name) => import(name) as Promise<TensorFlow>)
  return opened
}

/** `load`: how the native binding is imported. */
export async function open(load: (name: string) => Promise<TensorFlow>): Promise<Tensors> {
  let complaint = ''
  try {
    const tf = await load(nativePackage)
    await tf.setBackend('tensorflow')
    // A binding that was installed without its library, or on a Node that it does not know, fails at its first operation.
    tryOut(tf)
    return { tf, backend: 'tensorflow' }
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_MODULE_NOT_FOUND')
      complaint = ` (${nativePackage} does not work: ${String((error as Error).message).split('\n')[0]})`
  }
  const tf = await import('@tensorflow/tfjs-core')
  await import('@tensorflow/tfjs-backend-wasm')
  // Threads would need workers of their own, and add up in another order on every run.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  assert(await tf.setBackend('wasm'), 'the WebAssembly backend of TensorFlow.js could not be opened')
  tryOut(tf)
  return { tf, backend: `wasm${complaint}` }
}

function tryOut(tf: TensorFlow): void {
  const [product] = tf.tidy(() => tf.matMul([[2, 3]], [[5], [7]]).dataSync())
  assert(product === 31, `the backend ${tf.getBackend()} of TensorFlow.js says that 2 · 5 + 3 · 7 is ${product}`)
}
