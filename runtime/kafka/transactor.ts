/**
 * One transaction after the other for a worker: records and offsets come in, all of it committed or nothing. Made by
 * `worker.ts`.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Membership, OffsetToCommit, OutRecord, TopicPartition } from '../broker.ts'
import { partitionKey, type Sequences, toBatches } from './batching.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { deliver } from './delivery.ts'
import { type KafkaError, producerFenced, staleCoordinator } from './error-codes.ts'
import type { Batch } from './produce-request.ts'
import { undelivered } from './producer.ts'
import { refusal, worstOf } from './refusal.ts'
import type { KafkaRequest } from './request.ts'
import { createRetryBudget } from './retry-budget.ts'
import {
  addOffsetsRequest,
  addPartitionsRequest,
  endTransactionRequest,
  type ProducerIdentity,
  txnOffsetCommitRequest,
} from './transaction-requests.ts'
import { takeOverProducer } from './transactional-ids.ts'

export interface TransactorOptions {
  readonly transactionalId: string
  readonly group: string
  readonly worker: string
  readonly transactionTimeoutMs: number
  readonly nowMs: () => number
}

/**
 * Two sets of connections, because brokers answer one request of a connection at a time: records need not wait for
 * offsets.
 */
export interface TransactorConnections {
  readonly records: Connections
  readonly offsets: Connections
}

export interface Transactor {
  readonly identity: ProducerIdentity
  transact(records: readonly OutRecord[], offsets: readonly OffsetToCommit[], membership: Membership): Promise<void>
}

const concurrent: ReadonlySet<KafkaError> = new Set<KafkaError>(['CONCURRENT_TRANSACTIONS'])
const concurrentOrUnknown: ReadonlySet<KafkaError> = new Set<KafkaError>([
  'CONCURRENT_TRANSACTIONS',
  'UNKNOWN_TOPIC_OR_PARTITION',
])

/** Takes over the transactional id: its former producer is refused from here on, and its open transaction is ended. */
export async function createTransactor(
  connections: TransactorConnections,
  options: TransactorOptions,
): Promise<Transactor> {
  const { transactionalId, group, worker, transactionTimeoutMs } = options
  const identity = await takeOverProducer(connections.records, transactionalId, transactionTimeoutMs)
  const sequences: Sequences = new Map()
  let busy = false
  /** Why nothing more can be written under this producer; null while all is well. */
  let over: string | null = null

  /**
   * Asks the coordinator of the transaction or the group until it is done; throws what this means for the transaction
   * otherwise.
   */
  async function ask(
    via: Connections,
    kind: 'group' | 'transaction',
    request: KafkaRequest<KafkaError>,
    passing: ReadonlySet<KafkaError>,
  ): Promise<void> {
    const error = await askCoordinator(via, {
      kind,
      key: kind === 'group' ? group : transactionalId,
      request,
      errorOf: (answer) => answer,
      passing,
      retryBudget: createRetryBudget(transactionTimeoutMs, 1.5, 20),
    })
    if (error !== 'NONE') throw refusal(options, request.api.name, error)
  }

  async function addPartitions(batches: readonly Batch[]): Promise<void> {
    const partitions = new Map<string, TopicPartition>(batches.map((batch) => [partitionKey(batch), batch]))
    const request = addPartitionsRequest(transactionalId, identity, [...partitions.values()])
    await ask(connections.records, 'transaction', request, concurrent)
  }

  async function writeRecords(batches: readonly Batch[]): Promise<void> {
    const produce = {
      transactionalId,
      identity: { producerId: identity.id, producerEpoch: identity.epoch, timestampMs: options.nowMs() },
      ackTimeoutMs: Math.min(transactionTimeoutMs, 15_000),
    }
    const { failure } = await deliver(connections.records, batches, produce, transactionTimeoutMs).catch((error) => {
      over = `the delivery of its records broke off (${String(error)})`
      throw error
    })
    if (failure === null) return
    // What was not written must not leave a gap: its numbers are given to the next records.
    for (const batch of [...failure.unacknowledged].reverse()) sequences.set(partitionKey(batch), batch.baseSequence)
    const error = undelivered(failure)
    if (failure.error !== 'UNREACHABLE' && producerFenced.has(failure.error))
      throw refusal(options, 'Produce', failure.error)
    if (
      failure.uncertain ||
      failure.error === 'OUT_OF_ORDER_SEQUENCE_NUMBER' ||
      failure.error === 'UNKNOWN_PRODUCER_ID'
    ) {
      over = `it is not known which records of an aborted transaction were written (${error.message})`
    }
    throw new PipelineError('transaction_aborted', `A transaction of "${worker}" was aborted. ${error.message}`, {
      cause: failure.cause ?? error,
      details: error.details,
    })
  }

  async function writeOffsets(offsets: readonly OffsetToCommit[], membership: Membership): Promise<void> {
    await ask(connections.offsets, 'transaction', addOffsetsRequest(transactionalId, identity, group), concurrent)
    const member = { group, instanceId: worker }
    const request = txnOffsetCommitRequest(transactionalId, identity, member, membership, offsets)
    await ask(connections.offsets, 'group', request, concurrentOrUnknown)
  }

  /** Nothing of it will be seen: ended by us, or by the coordinator when the transaction times out. */
  async function abort(): Promise<void> {
    try {
      await ask(connections.records, 'transaction', endTransactionRequest(transactionalId, identity, false), concurrent)
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      // INVALID_TXN_STATE: it had not begun.
      if (error.details.error !== 'INVALID_TXN_STATE')
        over ??= `its last transaction could not be ended (${error.message})`
    }
  }

  async function commit(): Promise<void> {
    try {
      await ask(connections.records, 'transaction', endTransactionRequest(transactionalId, identity, true), concurrent)
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      over = `its last transaction could not be committed (${error.message})`
      const answered = error.details.error as KafkaError | undefined
      const known = answered !== undefined && !staleCoordinator.has(answered) && !concurrent.has(answered)
      if (known) throw error
      throw new PipelineError(
        'kafka_unreachable',
        `Whether the last transaction of "${worker}" was committed is not known: ` +
          'close this worker; the next one reads the committed offsets',
        { cause: error, details: error.details },
      )
    }
  }

  async function run(
    batches: readonly Batch[],
    offsets: readonly OffsetToCommit[],
    membership: Membership,
  ): Promise<void> {
    let failed: unknown = null
    try {
      if (batches.length > 0) await addPartitions(batches)
      const halves = [
        batches.length > 0 ? writeRecords(batches) : null,
        offsets.length > 0 ? writeOffsets(offsets, membership) : null,
      ]
      const refusals = (await Promise.allSettled(halves)).filter((half) => half.status === 'rejected')
      failed = worstOf(refusals.map(({ reason }) => reason))
    } catch (error) {
      failed = error
      // Not begun, or not known whether: these numbers were given out, but nothing was written under them.
      for (const batch of [...batches].reverse()) sequences.set(partitionKey(batch), batch.baseSequence)
    }
    if (failed === null) return await commit()
    if (!(failed instanceof PipelineError)) {
      over = `it failed in a way that must not happen (${String(failed)})`
      throw failed
    }
    if (failed.code === 'fenced') over = failed.message
    else await abort()
    throw failed.code === 'kafka_unreachable'
      ? new PipelineError('transaction_aborted', `A transaction of "${worker}" was aborted. ${failed.message}`, {
          cause: failed,
        })
      : failed
  }

  return {
    identity,
    async transact(records, offsets, membership) {
      assert(!busy, 'one transaction at a time')
      assert(membership.generation >= 0, 'a commit without generation would be accepted from anyone')
      if (over !== null) {
        throw new PipelineError('fenced', `Worker "${worker}" of group ${group} must be closed and made anew: ${over}`)
      }
      if (records.length === 0 && offsets.length === 0) return
      busy = true
      try {
        await knowLeaders(connections.records, records)
        await run(toBatches(records, sequences), offsets, membership)
      } finally {
        busy = false
      }
    },
  }
}

/** A missing topic is refused before the transaction begins. */
async function knowLeaders(connections: Connections, records: readonly OutRecord[]): Promise<void> {
  if (records.some((record) => connections.leaderOf(record) === undefined)) await connections.findLeaders(records)
}
