/**
 * What an answered error means for whoever was refused: fenced, rebalance or an aborted transaction; used by the
 * transactor.
 */
import { PipelineError } from '../../schemas/errors.ts'
import { type KafkaError, memberExpelled, producerFenced } from './error-codes.ts'

export interface RefusedWorker {
  readonly transactionalId: string
  readonly group: string
  readonly worker: string
}

export function refusal(refused: RefusedWorker, step: string, error: KafkaError): PipelineError {
  const { transactionalId, group, worker } = refused
  const options = { details: { transactionalId, group, worker, step, error } }
  const said = `${step} says ${error}`
  if (producerFenced.has(error) || error === 'FENCED_INSTANCE_ID') {
    return new PipelineError(
      'fenced',
      `Another process took over from worker "${worker}" of group ${group}: ${said}`,
      options,
    )
  }
  if (memberExpelled.has(error)) {
    return new PipelineError('rebalance', `Group ${group} goes on without "${worker}" as it was: ${said}`, options)
  }
  return new PipelineError('transaction_aborted', `A transaction of "${worker}" was aborted: ${said}`, options)
}

/** Of two failures, the one that says most about who may go on; null where there is none. */
export function worstOf(failures: readonly unknown[]): unknown {
  const rank = (error: unknown) => {
    if (!(error instanceof PipelineError)) return 0
    return error.code === 'fenced' ? 1 : error.code === 'rebalance' ? 2 : 3
  }
  return [...failures].sort((a, b) => rank(a) - rank(b))[0] ?? null
}
