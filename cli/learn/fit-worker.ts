/** The worker thread of a training: takes labelled rows, answers weights. Started by `fit-in-worker.ts`, ends with its training. */
import assert from 'node:assert/strict'
import { parentPort, workerData } from 'node:worker_threads'
import { modelOf } from '../../online-model/models/model-of.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { loadPlan } from '../load-plan.ts'
import type { FitMessage, FitTask } from './fit-in-worker.ts'

assert(parentPort, 'this file is started as a worker thread')
const port = parentPort
const report = (message: FitMessage) => port.postMessage(message)
const { definition, namespace, seed, training } = workerData as FitTask

try {
  const plan = await loadPlan(definition, { namespace })
  const onProgress = (done: number, note: string) => report({ kind: 'progress', done, note })
  report({ kind: 'fitted', fitted: await modelOf(plan.model).fit(training, { seed, onProgress }) })
} catch (error) {
  const { message, stack } = error as Error
  const rejection = error instanceof PipelineError ? { code: error.code, message } : null
  report({ kind: 'failed', rejection, reason: stack ?? message })
}
