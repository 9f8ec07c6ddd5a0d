/**
 * An error in the answer to a worker's request comes in, what it means for the worker goes out: superseded, fenced,
 * rebalance, access denied or an aborted transaction. Called by the worker and its transactor.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { accessDenied, type KafkaError, memberExpelled, producerFenced } from './error-codes.ts'

export interface WorkerName {
  readonly transactionalId: string
  readonly group: string
  readonly worker: string
}

export function workerError(name: WorkerName, step: string, error: KafkaError): PipelineError {
  const { transactionalId, group, worker } = name
  const options = { details: { transactionalId, group, worker, step, error } }
  const answer = `${step} failed with ${error}`
  if (error === 'FENCED_INSTANCE_ID') return superseded(name)
  if (producerFenced.has(error)) {
    return new PipelineError(
      'fenced',
      `Another process took over from worker "${worker}" of group ${group}: ${answer}`,
      options,
    )
  }
  if (memberExpelled.has(error)) {
    return new PipelineError('rebalance', `Worker "${worker}" must join group ${group} again: ${answer}`, options)
  }
  if (accessDenied.has(error)) {
    return new PipelineError('kafka_refused', `Access is denied to the transactions of "${worker}": ${answer}`, options)
  }
  return new PipelineError('transaction_aborted', `A transaction of "${worker}" was aborted: ${answer}`, options)
}

/** The group knows another process under this worker's name. */
export function superseded({ group, worker }: Pick<WorkerName, 'group' | 'worker'>): PipelineError {
  return new PipelineError('superseded', `Another process works under the name "${worker}" in group ${group}`, {
    details: { group, worker },
  })
}

/** Of several failures, the one that decides whether the worker may continue; null where there is none. */
export function decisiveFailure(failures: readonly unknown[]): unknown {
  const rank = (error: unknown) => {
    if (!(error instanceof PipelineError)) return 0
    const order: readonly string[] = ['superseded', 'fenced', 'rebalance']
    const index = order.indexOf(error.code)
    return index === -1 ? order.length + 1 : index + 1
  }
  return [...failures].sort((a, b) => rank(a) - rank(b))[0] ?? null
}
