/**
 * Who may write under which transactional id: takes an id over, and ends what members that are gone have left open. Called by the
 * transactor, by a group's leader, and where an operator removes a worker.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { failureCode, type KafkaError, namingRight, rightMissing, staleCoordinator } from './error-codes.ts'
import { createRetryBudget } from './retry-budget.ts'
import { initProducerIdRequest, listTransactionsRequest, type ProducerIdentity } from './transaction-requests.ts'

const concurrent: ReadonlySet<KafkaError> = new Set<KafkaError>(['CONCURRENT_TRANSACTIONS'])

/** Neither a group's name nor a worker's has a slash, so that an id says whose it is. */
export function transactionalIdOf(group: string, worker: string): string {
  return `${group}/${worker}`
}

/** Takes over the id: its former producer is refused from here on, and its open transaction is ended. */
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
    passing: concurrent,
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
 * Ends the open transactions of workers that are not in the group: nobody else would before they time out, and until then they hold up
 * whoever reads behind them. A worker that only was too slow makes a new producer, as after a time-out.
 */
export async function endAbandoned(
  connections: Connections,
  group: string,
  members: ReadonlySet<string>,
  transactionTimeoutMs: number,
): Promise<void> {
  const prefix = transactionalIdOf(group, '')
  const abandoned = (await ongoing(connections)).filter(
    (id) => id.startsWith(prefix) && !members.has(id.slice(prefix.length)),
  )
  await Promise.all(
    abandoned.map(async (id) => {
      try {
        await takeOverProducer(connections, id, transactionTimeoutMs)
      } catch (error) {
        // Allowed to see it, but not to end it: it ends by its timeout.
        if (error instanceof PipelineError && error.code === 'kafka_refused') return
        throw error
      }
    }),
  )
}

/** Every coordinator knows its own. */
async function ongoing(connections: Connections): Promise<string[]> {
  const { nodes } = await connections.metadata([])
  const lists = await Promise.all(nodes.map(({ nodeId }) => ongoingAt(connections, nodeId)))
  return lists.flat()
}

async function ongoingAt(connections: Connections, nodeId: number): Promise<string[]> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs)
  for (;;) {
    const request = listTransactionsRequest('Ongoing')
    const answer = await connections.sendIfSpoken(nodeId, request)
    // Before Kafka 3.0 nobody tells: they end by their timeout.
    if (answer === null || rightMissing.has(answer.error)) return []
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
