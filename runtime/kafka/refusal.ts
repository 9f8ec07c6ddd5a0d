/**
 * What an answered error means for whoever was refused: fenced, rebalance or an aborted transaction; used by the
 * transactor.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type KafkaError, memberExpelled, producerFenced, rightMissing } from './error-codes.ts'

export interface RefusedWorker {
  readonly transactionalId: string
  readonly group: string
  readonly worker: string
}

export function refusal(refused: RefusedWorker, step: string, error: KafkaError): PipelineError {
  const { transactionalId, group, worker } = refused
  const options = { details: { transactionalId, group, worker, step, error } }
  const said = `${step} says ${error}`
  if (error === 'FENCED_INSTANCE_ID') return superseded(refused)
  if (producerFenced.has(error)) {
    return new PipelineError(
      'fenced',
      `Another process took over from worker "${worker}" of group ${group}: ${said}`,
      options,
    )
  }
  if (memberExpelled.has(error)) {
    return new PipelineError('rebalance', `Group ${group} goes on without "${worker}" as it was: ${said}`, options)
  }
  if (rightMissing.has(error)) {
    return new PipelineError(
      'kafka_refused',
      `A right is missing for the transactions of "${worker}": ${said}`,
      options,
    )
  }
  return new PipelineError('transaction_aborted', `A transaction of "${worker}" was aborted: ${said}`, options)
}

/** The group knows another process under this worker's name. */
export function superseded({ group, worker }: Pick<RefusedWorker, 'group' | 'worker'>): PipelineError {
  return new PipelineError('superseded', `Another process works under the name "${worker}" in group ${group}`, {
    details: { group, worker },
  })
}

/** Of two failures, the one that says most about who may go on; null where there is none. */
export function worstOf(failures: readonly unknown[]): unknown {
  const rank = (error: unknown) => {
    if (!(error instanceof PipelineError)) return 0
    const order: readonly string[] = ['superseded', 'fenced', 'rebalance']
    const place = order.indexOf(error.code)
    return place === -1 ? order.length + 1 : place + 1
  }
  return [...failures].sort((a, b) => rank(a) - rank(b))[0] ?? null
}
