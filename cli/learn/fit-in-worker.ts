/**
 * A fit in a thread of its own, within bounds of time and memory: nothing else of the process waits for it, and ending it leaves nothing
 * half-done. Handed to the trainer.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Fitted } from '../../online-model/models/model.ts'
import type { Fit } from '../../online-model/trainer/retraining-rows.ts'
import { codeFolder, isCompiled } from '../../runtime/package-folder.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TrainingRows } from '../../schemas/models/custom.ts'

/** What the thread is given. */
export interface FitTask {
  readonly definition: string
  readonly namespace: string
  readonly seed: number
  readonly training: TrainingRows
}

/** What it reports. */
export type FitMessage =
  | { readonly kind: 'progress'; readonly done: number; readonly note: string }
  | { readonly kind: 'fitted'; readonly fitted: Fitted }
  /** `rejection`: of a `PipelineError`. */
  | {
      readonly kind: 'failed'
      readonly rejection: { readonly code: PipelineError['code']; readonly message: string } | null
      readonly reason: string
    }

export interface FitInWorkerOptions {
  /** File of the definition, whose model is trained. */
  readonly definition: string
  readonly namespace: string
  readonly timeMaxMs: number
  /** Of the thread's own objects; its rows and a network's tensors come on top. */
  readonly heapBytesMax: number
  readonly onProgress: (done: number, note: string) => void
}

const entry = pathToFileURL(join(codeFolder, `cli/learn/fit-worker.${isCompiled ? 'js' : 'ts'}`)).href
/** A thread begins without the loader of TypeScript, and Node 20 takes none for a thread's first file. */
const loader = isCompiled ? '' : `(await import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))})).register();`
const code = `(async () => { ${loader} await import(${JSON.stringify(entry)}) })()`

/** Rejects with `model_untrainable`, also where a bound was reached; with the signal's reason; with what the thread threw. */
export function fitInWorker(options: FitInWorkerOptions): Fit {
  const { definition, namespace, timeMaxMs, heapBytesMax, onProgress } = options
  return async (training, { seed, signal }) => {
    signal.throwIfAborted()
    const task: FitTask = { definition, namespace, seed, training }
    const buffers = [training.rows, training.labels, ...(training.weights ? [training.weights] : [])]
    const worker = new Worker(code, {
      eval: true,
      workerData: task,
      // The rows are the caller's to give: they are moved, not copied.
      transferList: buffers.map(({ buffer }) => buffer as ArrayBuffer),
      resourceLimits: { maxOldGenerationSizeMb: Math.ceil(heapBytesMax / 1_048_576) },
      execArgv: [],
    })
    const late = AbortSignal.timeout(timeMaxMs)
    try {
      return await answerOf(worker, AbortSignal.any([signal, late]), onProgress)
    } catch (error) {
      if (!late.aborted || signal.aborted) throw error
      throw untrainable(`did not end within ${Math.round(timeMaxMs / 1_000)} s`)
    } finally {
      await worker.terminate()
    }
  }
}

function answerOf(worker: Worker, signal: AbortSignal, onProgress: FitInWorkerOptions['onProgress']): Promise<Fitted> {
  return new Promise<Fitted>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    worker.on('message', (message: FitMessage) => {
      if (message.kind === 'progress') onProgress(message.done, message.note)
      else if (message.kind === 'fitted') resolve(message.fitted)
      else
        reject(
          message.rejection
            ? new PipelineError(message.rejection.code, message.rejection.message)
            : new Error(message.reason),
        )
    })
    worker.on('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? untrainable('took more memory than it may') : error)
    })
    worker.on('exit', (code) => reject(new Error(`the thread of the training ended with ${code} before it answered`)))
  })
}

function untrainable(what: string): PipelineError {
  return new PipelineError(
    'model_untrainable',
    `The training ${what}. Train on a shorter span (learn.retrain.over), or a smaller model.`,
  )
}
