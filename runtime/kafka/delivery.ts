/**
 * Numbered batches go to their leaders: in parallel over brokers, in order within a partition, again where a failure
 * passes, with the same numbers, so that the broker recognises what it already has. Called by the producer and by
 * transactions.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { partitionKey } from './batching.ts'
import type { Connections } from './connections.ts'
import { type KafkaError, retriableWrite, staleLeader, uncertainWrite } from './error-codes.ts'
import { type Batch, type ProduceOptions, produceRequest } from './produce-request.ts'
import { createRetryBudget } from './retry-budget.ts'

/** One Produce request carries at most about this much, bytes; a single larger batch travels alone. */
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
  /** Some of the unacknowledged may nevertheless lie in the log: their sequence numbers are neither used nor free. */
  readonly uncertain: boolean
}

interface Refusal {
  readonly batch: Batch
  readonly error: KafkaError | 'UNREACHABLE'
  readonly cause: unknown
}

/** Never rejects for what a broker answers. Rejects with `topic_missing` before anything is sent. */
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
    const refusals = results.flatMap(({ refused }) => refused)
    for (const batch of leaderless) refusals.push({ batch, error: 'LEADER_NOT_AVAILABLE', cause: undefined })
    const acknowledged = new Set(results.flatMap((result) => result.acknowledged))
    left = left.filter((batch) => !acknowledged.has(batch))
    if (left.length === 0) return { failure: null }

    const final = refusals.find(({ error }) => error !== 'UNREACHABLE' && !retriableWrite.has(error))
    const worst = final ?? refusals[0]!
    if (final !== undefined || connections.isClosed() || !(await retryBudget.again())) {
      return { failure: { ...worst, unacknowledged: left, uncertain: left.some((batch) => uncertain.has(batch)) } }
    }
    // Kafka also says NOT_ENOUGH_REPLICAS for a moment when it cannot yet verify a transaction: the leader is no
    // matter then.
    if (refusals.some(({ error }) => error === 'UNREACHABLE' || staleLeader.has(error))) {
      await findLeadersAgain(connections, left)
    }
  }
}

/** A failure here is one of the next round: the old leaders are asked once more, and patience ends by itself. */
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

/** Sends one leader's batches, request after request; a partition that was refused gets nothing more in this round. */
async function sendInOrder(
  connections: Connections,
  nodeId: number,
  batches: readonly Batch[],
  options: ProduceOptions,
  uncertain: Set<Batch>,
): Promise<{ acknowledged: Batch[]; refused: Refusal[] }> {
  const acknowledged: Batch[] = []
  const refused: Refusal[] = []
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
        refused.push({ batch, error, cause: undefined })
        stopped.add(partitionKey(batch))
      }
    } catch (cause) {
      if (!(cause instanceof PipelineError) || cause.code !== 'kafka_unreachable') throw cause
      for (const batch of now) {
        uncertain.add(batch)
        refused.push({ batch, error: 'UNREACHABLE', cause })
      }
      break
    }
    if (stopped.size > 0) left = left.filter((batch) => !stopped.has(partitionKey(batch)))
  }
  return { acknowledged, refused }
}

/** As many batches as one request may carry, at most one of each partition; the rest keep their order. */
function nextRequest(batches: readonly Batch[]): [Batch[], Batch[]] {
  const now: Batch[] = []
  const later: Batch[] = []
  const taken = new Set<string>()
  let bytes = 0
  for (const batch of batches) {
    const key = partitionKey(batch)
    if (taken.has(key) || (now.length > 0 && bytes + batch.bytesMax > requestBytesMax)) later.push(batch)
    else {
      now.push(batch)
      bytes += batch.bytesMax
    }
    taken.add(key)
  }
  return [now, later]
}
