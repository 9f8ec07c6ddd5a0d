/**
 * The group's committed offsets: partitions come in, offsets with their metadata go out; called by `worker.ts` for
 * stable ones only and by `broker.ts` for the current ones.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CommittedOffset, TopicPartition } from '../broker.ts'
import { partitionKey } from './batching.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { failureCode, type KafkaError } from './error-codes.ts'
import { type OffsetsFound, offsetFetchRequest } from './group-requests.ts'
import { createRetryBudget } from './retry-budget.ts'

const unstable: ReadonlySet<KafkaError> = new Set<KafkaError>(['UNSTABLE_OFFSET_COMMIT'])

/** How often the coordinator checks for transactions that have timed out, ms (the broker's default). */
const timeoutCheckMs = 10_000

/** As they are now; the offsets of an open transaction do not count yet. */
export async function currentOffsets(
  connections: Connections,
  group: string,
  partitions: readonly TopicPartition[],
): Promise<CommittedOffset[]> {
  if (partitions.length === 0) return []
  const answer = await askCoordinator(connections, {
    kind: 'group',
    key: group,
    request: offsetFetchRequest(group, partitions, false),
    errorOf,
    retryBudget: createRetryBudget(connections.retryBudgetMs),
  })
  return inOrder(answer, group, partitions)
}

/**
 * Waits while another member's transaction on one of the partitions is open, at most until it must have timed
 * out.
 */
export async function committedOffsets(
  connections: Connections,
  group: string,
  partitions: readonly TopicPartition[],
  transactionTimeoutMs: number,
): Promise<CommittedOffset[]> {
  if (partitions.length === 0) return []
  const answer = await askCoordinator(connections, {
    kind: 'group',
    key: group,
    request: offsetFetchRequest(group, partitions, true),
    errorOf,
    transient: unstable,
    retryBudget: createRetryBudget(transactionTimeoutMs + timeoutCheckMs + 5_000, 5, 50),
  })
  return inOrder(answer, group, partitions)
}

function inOrder(answer: OffsetsFound, group: string, partitions: readonly TopicPartition[]): CommittedOffset[] {
  const error = errorOf(answer)
  if (error !== 'NONE') {
    const why = error === 'UNSTABLE_OFFSET_COMMIT' ? ' (a transaction on them stays open)' : ''
    throw new PipelineError(
      failureCode(error),
      `Kafka does not return the committed offsets of group ${group}: ${error}${why}`,
      {
        details: { group, error },
      },
    )
  }
  const found = new Map(answer.offsets.map((offset) => [partitionKey(offset), offset]))
  return partitions.map(({ topic, partition }) => {
    const { offset, metadata } = found.get(partitionKey({ topic, partition })) ?? { offset: null, metadata: '' }
    return { topic, partition, offset, metadata }
  })
}

function errorOf({ error, offsets }: OffsetsFound): KafkaError {
  if (error !== 'NONE') return error
  return offsets.find((offset) => offset.error !== 'NONE')?.error ?? 'NONE'
}
