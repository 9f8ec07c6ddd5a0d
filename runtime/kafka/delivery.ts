/**
 * Sends numbered batches to their leaders: in parallel over brokers, in order within a partition. Transient failures are
 * retried with the same sequence numbers, so that the broker recognises what it already has. Called by the producer and
 * by transactions.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { partitionKey } from './batching.ts'
import type { Connections } from './connections.ts'
import { type KafkaError, retriableWrite, staleLeader, uncertainWrite } from './error-codes.ts'
import { type Batch, type ProduceOptions, produceRequest } from './produce-request.ts'
import { createRetryBudget } from './retry-budget.ts'

/** One Produce request carries at most about this much, bytes; a single larger batch is sent alone. */
export const requestBytesMax = 1_048_576

export interface Delivery {
  /** Null when every batch was acknowledged. */
  readonly failure: DeliveryFailure | null
}

export interface DeliveryFailure {
  readonly error: KafkaError | 'UNREACHABLE'
  readonly cause: unknown
  /** The batch that failed first, and all that are not acknowledged, in order within a partition. */
  readonly batch: Batch
  readonly unacknowledged: readonly Batch[]
  /** Some of the unacknowledged may be in the log nevertheless: their sequence numbers are neither used nor free. */
  readonly uncertain: boolean
}

interface Rejection {
  readonly batch: Batch
  readonly error: KafkaError | 'UNREACHABLE'
  readonly cause: unknown
}

/** An error in a broker's answer is returned as the failure. Rejects with `topic_missing` before anything is sent. */
export async function deliver(
  connections: Connections,
  batches: readonly Batch[],
  options: ProduceOptions,
  retryBudgetMs: number,
): Promise<Delivery> {
  const retryBudget = createRetryBudget(retryBudgetMs, 1.5)
  const uncertain = new Set<Batch>()
  let left = batches
  if (left.some((batch) => connections.leaderOf(batch) === undefined)) await connections.findLeaders(left)
  for (;;) {
    const [led, leaderless] = byLeader(connections, left)
    const rounds = [...led].map(([nodeId, list]) => sendInOrder(connections, nodeId, list, options, uncertain))
    const results = await Promise.all(rounds)
    const rejections = results.flatMap(({ rejected }) => rejected)
    for (const batch of leaderless) rejections.push({ batch, error: 'LEADER_NOT_AVAILABLE', cause: undefined })
    const acknowledged = new Set(results.flatMap((result) => result.acknowledged))
    left = left.filter((batch) => !acknowledged.has(batch))
    if (left.length === 0) return { failure: null }

    const final = rejections.find(({ error }) => error !== 'UNREACHABLE' && !retriableWrite.has(error))
    const worst = final ?? rejections[0]!
    if (final !== undefined || connections.isClosed() || !(await retryBudget.again())) {
      return { failure: { ...worst, unacknowledged: left, uncertain: left.some((batch) => uncertain.has(batch)) } }
    }
    // Kafka also answers NOT_ENOUGH_REPLICAS for a moment when it cannot verify a transaction yet: the leader is the
    // right one then.
    if (rejections.some(({ error }) => error === 'UNREACHABLE' || staleLeader.has(error))) {
      await findLeadersAgain(connections, left)
    }
  }
}

/** A failure here is left to the next round, which asks the former leaders and spends the same budget. */
async function findLeadersAgain(connections: Connections, batches: readonly Batch[]): Promise<void> {
  try {
    await connections.findLeaders(batches)
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
  }
}

function byLeader(connections: Connections, batches: readonly Batch[]): [Map<number, Batch[]>, Batch[]] {
  const led = new Map<number, Batch[]>()
  const leaderless: Batch[] = []
  for (const batch of batches) {
    const nodeId = connections.leaderOf(batch)
    if (nodeId === undefined) leaderless.push(batch)
    else if (led.has(nodeId)) led.get(nodeId)!.push(batch)
    else led.set(nodeId, [batch])
  }
  return [led, leaderless]
}

/** Sends one leader's batches, request after request; a partition with a rejected batch gets nothing more in this round. */
async function sendInOrder(
  connections: Connections,
  nodeId: number,
  batches: readonly Batch[],
  options: ProduceOptions,
  uncertain: Set<Batch>,
): Promise<{ acknowledged: Batch[]; rejected: Rejection[] }> {
  const acknowledged: Batch[] = []
  const rejected: Rejection[] = []
  const stopped = new Set<string>()
  let left: readonly Batch[] = batches
  while (left.length > 0) {
    const [now, later] = nextRequest(left)
    left = later
    try {
      const outcomes = await connections.send(nodeId, produceRequest(now, options))
      const errors = new Map(outcomes.map((outcome) => [partitionKey(outcome), outcome.error]))
      for (const batch of now) {
        const error = errors.get(partitionKey(batch)) ?? 'UNKNOWN_SERVER_ERROR'
        if (error === 'NONE' || error === 'DUPLICATE_SEQUENCE_NUMBER') {
          acknowledged.push(batch)
          continue
        }
        if (uncertainWrite.has(error)) uncertain.add(batch)
        rejected.push({ batch, error, cause: undefined })
        stopped.add(partitionKey(batch))
      }
    } catch (cause) {
      if (!(cause instanceof PipelineError) || cause.code !== 'kafka_unreachable') throw cause
      for (const batch of now) {
        uncertain.add(batch)
        rejected.push({ batch, error: 'UNREACHABLE', cause })
      }
      break
    }
    if (stopped.size > 0) left = left.filter((batch) => !stopped.has(partitionKey(batch)))
  }
  return { acknowledged, rejected }
}

/** As many batches as one request may carry, at most one of each partition; the rest keep their order. */
function nextRequest(batches: readonly Batch[]): [Batch[], Batch[]] {
  const now: Batch[] = []
  const later: Batch[] = []
  const taken = new Set<string>()
  let bytes = 0
  for (const batch of batches) {
    const key = partitionKey(batch)
    if (taken.has(key) || (now.length > 0 && bytes + batch.framed.bytes.length > requestBytesMax)) later.push(batch)
    else {
      now.push(batch)
      bytes += batch.framed.bytes.length
    }
    taken.add(key)
  }
  return [now, later]
}
