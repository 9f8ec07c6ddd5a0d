/**
 * Ownership of transactional ids: takes an id over, and ends the transactions that former members left open. Called by the transactor,
 * by a group's leader, and when an operator removes a worker.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { accessDenied, failureCode, type KafkaError, namingRight, staleCoordinator } from './error-codes.ts'
import { createRetryBudget } from './retry-budget.ts'
import { initProducerIdRequest, listTransactionsRequest, type ProducerIdentity } from './transaction-requests.ts'

const concurrent: ReadonlySet<KafkaError> = new Set<KafkaError>(['CONCURRENT_TRANSACTIONS'])

/** Neither a group's name nor a worker's has a slash, so an id can be split into the two again. */
export function transactionalIdOf(group: string, worker: string): string {
  return `${group}/${worker}`
}

/** Takes over the id: its former producer is fenced from here on, and its open transaction is ended. */
export async function takeOverProducer(
  connections: Connections,
  transactionalId: string,
  transactionTimeoutMs: number,
): Promise<ProducerIdentity> {
  const answer = await askCoordinator(connections, {
    kind: 'transaction',
    key: transactionalId,
    request: initProducerIdRequest(transactionalId, transactionTimeoutMs),
    errorOf: ({ error }) => error,
    transient: concurrent,
    retryBudget: createRetryBudget(transactionTimeoutMs + connections.retryBudgetMs),
  })
  if (answer.error === 'NONE') return { id: answer.id, epoch: answer.epoch }
  const hint =
    answer.error === 'INVALID_TRANSACTION_TIMEOUT' ? ' (the broker allows transaction.max.timeout.ms at most)' : ''
  throw new PipelineError(
    failureCode(answer.error),
    `Kafka gives "${transactionalId}" no producer id: ${namingRight(answer.error, 'Write')}${hint}`,
    { details: { transactionalId, error: answer.error } },
  )
}

/**
 * Ends the open transactions of workers that are not in the group. Otherwise they would stay open until they time out and block all
 * consumers behind them until then. A worker that was only slow makes a new producer, as after a timeout.
 */
export async function endAbandoned(
  connections: Connections,
  group: string,
  members: ReadonlySet<string>,
  transactionTimeoutMs: number,
): Promise<void> {
  const prefix = transactionalIdOf(group, '')
  const abandoned = (await ongoingTransactions(connections)).filter(
    (id) => id.startsWith(prefix) && !members.has(id.slice(prefix.length)),
  )
  await Promise.all(
    abandoned.map(async (id) => {
      try {
        await takeOverProducer(connections, id, transactionTimeoutMs)
      } catch (error) {
        // This user may see it, but not end it: it ends by its timeout.
        if (error instanceof PipelineError && error.code === 'kafka_refused') return
        throw error
      }
    }),
  )
}

/** Every coordinator lists its own. */
async function ongoingTransactions(connections: Connections): Promise<string[]> {
  const { nodes } = await connections.metadata([])
  const lists = await Promise.all(nodes.map(({ nodeId }) => ongoingAt(connections, nodeId)))
  return lists.flat()
}

async function ongoingAt(connections: Connections, nodeId: number): Promise<string[]> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs)
  for (;;) {
    const request = listTransactionsRequest('Ongoing')
    const answer = await connections.sendIfSupported(nodeId, request)
    // Before Kafka 3.0 they cannot be listed: they end by their timeout.
    if (answer === null || accessDenied.has(answer.error)) return []
    if (answer.error === 'NONE') return [...answer.transactionalIds]
    if (!staleCoordinator.has(answer.error) || !(await retryBudget.again())) {
      throw new PipelineError(
        'kafka_request_failed',
        `Node ${nodeId} of Kafka does not list its open transactions: ${answer.error}`,
        { details: { nodeId, error: answer.error } },
      )
    }
  }
}
