/**
 * The layers of a network over a batch: a step and rows in one flat memory in, their products with the step's weights out. In WebAssembly
 * (`network-kernel.wat`) where the machine has its vectors, else in JavaScript, with the same bits (decision 49). Called by
 * `mlp-scoring.ts`.
 */
import { networkKernelCode } from './network-kernel-code.ts'

/** Results come in whole groups of so many. */
export const lanes = 4

export function padded(units: number): number {
  return Math.ceil(units / lanes) * lanes
}

/** Rows times a matrix. All but counts are indexes into the kernel's memory. */
export interface LayerStep {
  readonly from: number
  /** From one row to the next; 0 where all rows are the same. */
  readonly fromStride: number
  /** One value an input: inputs are left out where it is 0 or less. So are inputs that are 0. */
  readonly gate: number
  readonly gateStride: number
  readonly inputs: number
  /** A row of `outputs` for each input. */
  readonly weights: number
  readonly biases: number
  /** Padded. */
  readonly outputs: number
  /** Rows of `outputs`. */
  readonly into: number
}

/** Vectors to the inputs of a network. All but the width are indexes into the kernel's memory. */
export interface InputStep {
  /** Vectors of `width`, one after the other. */
  readonly from: number
  readonly width: number
  readonly units: number
  readonly means: number
  readonly scales: number
  readonly into: number
  /** From one row of inputs to the next: padded. */
  readonly stride: number
}

export interface Kernel {
  readonly backend: 'wasm' | 'javascript'
  readonly memory: Float64Array
  /** `standardise` of `input-scales.ts` for `count` vectors, of units that are positive; null where that is the way to do it. */
  readonly standardise: ((step: InputStep, count: number) => void) | null
  /** The first `count` rows. A sum begins with the bias; products are added in the order of the inputs. */
  multiply(step: LayerStep, count: number): void
}

/** What is used of WebAssembly: Node's types leave it out. */
export interface WebAssemblyHost {
  validate(code: Uint8Array): boolean
  readonly Module: new (code: Uint8Array) => object
  readonly Instance: new (module: object, imports: object) => { readonly exports: Readonly<Record<string, unknown>> }
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer }
}

const doubleBytes = 8
const pageBytes = 65_536
/** A term is an input and the address of its weights. */
const termBytes = 16
/** Addresses are 32 bits wide. */
const wasmBytesMax = 2 ** 31

/** Memory of `length` numbers that never grows, for steps of up to `inputsMax` inputs. `host`: null where there is none. */
export function openKernel(
  length: number,
  inputsMax: number,
  host = (globalThis as { WebAssembly?: WebAssemblyHost }).WebAssembly ?? null,
): Kernel {
  return (host && openWasm(length, inputsMax, host)) ?? openJavaScript(length, inputsMax)
}

type StandardiseRows = (
  count: number,
  from: number,
  width: number,
  units: number,
  means: number,
  scales: number,
  into: number,
  stride: number,
) => void

type MultiplyRows = (
  count: number,
  from: number,
  fromStride: number,
  gate: number,
  gateStride: number,
  inputs: number,
  weights: number,
  biases: number,
  outputs: number,
  into: number,
  terms: number,
) => void

/** Null where the machine has no vectors for WebAssembly, or not the memory. */
function openWasm(length: number, inputsMax: number, host: WebAssemblyHost): Kernel | null {
  const code = Buffer.from(networkKernelCode, 'base64')
  if (!host.validate(code)) return null
  const terms = length * doubleBytes
  const bytes = terms + inputsMax * termBytes
  if (bytes > wasmBytesMax) return null
  const pages = Math.ceil(bytes / pageBytes)
  const memory = allocate(pages, host)
  if (memory === null) return null
  const { exports } = new host.Instance(new host.Module(code), { network: { memory } })
  const standardiseRows = exports.standardiseRows as StandardiseRows
  const multiplyRows = exports.multiplyRows as MultiplyRows
  return {
    backend: 'wasm',
    memory: new Float64Array(memory.buffer, 0, length),
    standardise(step, count) {
      standardiseRows(
        count,
        step.from * doubleBytes,
        step.width * doubleBytes,
        step.units * doubleBytes,
        step.means * doubleBytes,
        step.scales * doubleBytes,
        step.into * doubleBytes,
        step.stride * doubleBytes,
      )
    },
    multiply(step, count) {
      multiplyRows(
        count,
        step.from * doubleBytes,
        step.fromStride * doubleBytes,
        step.gate * doubleBytes,
        step.gateStride * doubleBytes,
        step.inputs,
        step.weights * doubleBytes,
        step.biases * doubleBytes,
        step.outputs,
        step.into * doubleBytes,
        terms,
      )
    },
  }
}

/** Null where it is refused: address space is reserved beyond what is used, which a limit may forbid. */
function allocate(pages: number, host: WebAssemblyHost): { readonly buffer: ArrayBuffer } | null {
  try {
    return new host.Memory({ initial: pages, maximum: pages })
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

export function openJavaScript(length: number, inputsMax: number): Kernel {
  const memory = new Float64Array(length)
  const terms: Terms = { values: new Float64Array(inputsMax), weightsAt: new Uint32Array(inputsMax) }
  return {
    backend: 'javascript',
    memory,
    standardise: null,
    multiply(step, count) {
      for (let row = 0; row < count; row++) multiplyRow(memory, step, row, terms)
    },
  }
}

interface Terms {
  readonly values: Float64Array
  readonly weightsAt: Uint32Array
}

function multiplyRow(memory: Float64Array, step: LayerStep, row: number, { values, weightsAt }: Terms): void {
  const { inputs, outputs, biases } = step
  const from = step.from + row * step.fromStride
  const gate = step.gate + row * step.gateStride
  const into = step.into + row * outputs
  // Every input is written, and the next one over it unless it counts: no branch to be mispredicted.
  let count = 0
  for (let i = 0; i < inputs; i++) {
    const value = memory[from + i]!
    values[count] = value
    weightsAt[count] = step.weights + i * outputs
    count += value === 0 || memory[gate + i]! <= 0 ? 0 : 1
  }
  for (let j = 0; j < outputs; j += lanes) {
    // Sums side by side in registers, each value being loaded once for all of them.
    let a = memory[biases + j]!
    let b = memory[biases + j + 1]!
    let c = memory[biases + j + 2]!
    let d = memory[biases + j + 3]!
    for (let k = 0; k < count; k++) {
      const value = values[k]!
      const at = weightsAt[k]! + j
      a += value * memory[at]!
      b += value * memory[at + 1]!
      c += value * memory[at + 2]!
      d += value * memory[at + 3]!
    }
    memory[into + j] = a
    memory[into + j + 1] = b
    memory[into + j + 2] = c
    memory[into + j + 3] = d
  }
}
