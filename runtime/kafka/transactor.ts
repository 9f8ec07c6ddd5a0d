/**
 * One transaction after the other for a worker: records and offsets come in, all of it is committed or nothing. Opened
 * by `worker.ts`.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Membership, OffsetToCommit, TopicPartition } from '../broker.ts'
import type { Outgoing } from '../framed-records.ts'
import { partitionKey, type Sequences, toBatches } from './batching.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { type DeliveryFailure, deliver } from './delivery.ts'
import { type KafkaError, producerFenced, staleCoordinator } from './error-codes.ts'
import type { Batch } from './produce-request.ts'
import { undelivered } from './producer.ts'
import type { KafkaRequest } from './request.ts'
import { createRetryBudget } from './retry-budget.ts'
import { type TransactionProtocol, transactionProtocol } from './transaction-protocol.ts'
import {
  addOffsetsRequest,
  addPartitionsRequest,
  endTransactionRequest,
  type ProducerIdentity,
  type TransactionEnded,
  txnOffsetCommitRequest,
} from './transaction-requests.ts'
import { takeOverProducer } from './transactional-ids.ts'
import { decisiveFailure, type WorkerName, workerError } from './worker-errors.ts'

export interface TransactorOptions extends WorkerName {
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
  /** When it was opened. */
  readonly identity: ProducerIdentity
  transact(records: readonly Outgoing[], offsets: readonly OffsetToCommit[], membership: Membership): Promise<void>
}

interface TransactorState {
  readonly connections: TransactorConnections
  readonly options: TransactorOptions
  readonly protocol: TransactionProtocol
  identity: ProducerIdentity
  readonly sequences: Sequences
  isBusy: boolean
  /** Why this producer can write nothing more; null while it can. */
  over: string | null
}

const concurrent: ReadonlySet<KafkaError> = new Set<KafkaError>(['CONCURRENT_TRANSACTIONS'])
const concurrentOrUnknown: ReadonlySet<KafkaError> = new Set<KafkaError>([
  'CONCURRENT_TRANSACTIONS',
  'UNKNOWN_TOPIC_OR_PARTITION',
])

/** Takes over the transactional id: its former producer is fenced from here on, and its open transaction is ended. */
export async function createTransactor(
  connections: TransactorConnections,
  options: TransactorOptions,
): Promise<Transactor> {
  const { transactionalId, transactionTimeoutMs } = options
  const { records } = connections
  const identity = await takeOverProducer(records, transactionalId, transactionTimeoutMs)
  const protocol = await transactionProtocol(records, await records.coordinator('transaction', transactionalId))
  const state: TransactorState = {
    connections,
    options,
    protocol,
    identity,
    sequences: new Map(),
    isBusy: false,
    over: null,
  }
  return { identity, transact: (records, offsets, membership) => transact(state, records, offsets, membership) }
}

async function transact(
  state: TransactorState,
  records: readonly Outgoing[],
  offsets: readonly OffsetToCommit[],
  membership: Membership,
): Promise<void> {
  const { group, worker } = state.options
  assert(!state.isBusy, 'one transaction at a time')
  assert(membership.generation >= 0, 'a commit without generation would be accepted from anyone')
  if (state.over !== null) {
    throw new PipelineError(
      'fenced',
      `Worker "${worker}" of group ${group} must be closed and opened again: ${state.over}`,
    )
  }
  if (records.length === 0 && offsets.length === 0) return
  state.isBusy = true
  try {
    await requireLeaders(state.connections.records, records)
    await runTransaction(state, toBatches(records, state.sequences), offsets, membership)
  } finally {
    state.isBusy = false
  }
}

/** A missing topic is rejected before the transaction begins. */
async function requireLeaders(connections: Connections, records: readonly Outgoing[]): Promise<void> {
  if (records.some((record) => connections.leaderOf(record) === undefined)) await connections.findLeaders(records)
}

async function runTransaction(
  state: TransactorState,
  batches: readonly Batch[],
  offsets: readonly OffsetToCommit[],
  membership: Membership,
): Promise<void> {
  const failure = await writeAll(state, batches, offsets, membership)
  if (failure === null) return await commit(state)
  if (!(failure instanceof PipelineError)) {
    state.over = `it failed in a way that must not happen (${String(failure)})`
    throw failure
  }
  if (failure.code === 'fenced') state.over = failure.message
  else await abort(state)
  if (failure.code !== 'kafka_unreachable') throw failure
  throw new PipelineError(
    'transaction_aborted',
    `A transaction of "${state.options.worker}" was aborted. ${failure.message}`,
    { cause: failure },
  )
}

/** Everything of a transaction but its end. Answers with the failure instead of rejecting; null where all was written. */
async function writeAll(
  state: TransactorState,
  batches: readonly Batch[],
  offsets: readonly OffsetToCommit[],
  membership: Membership,
): Promise<unknown> {
  try {
    if (batches.length > 0 && !state.protocol.isImplicit) await addPartitions(state, batches)
    const writes = [
      batches.length > 0 ? writeRecords(state, batches) : null,
      offsets.length > 0 ? writeOffsets(state, offsets, membership) : null,
    ]
    const failed = (await Promise.allSettled(writes)).filter((write) => write.status === 'rejected')
    return decisiveFailure(failed.map(({ reason }) => reason))
  } catch (error) {
    // The transaction has not begun, or may not have: nothing was written under these sequence numbers.
    takeBackSequences(state, batches)
    return error
  }
}

async function addPartitions(state: TransactorState, batches: readonly Batch[]): Promise<void> {
  const partitions = new Map<string, TopicPartition>(batches.map((batch) => [partitionKey(batch), batch]))
  const request = addPartitionsRequest(state.options.transactionalId, state.identity, [...partitions.values()])
  await ask(state, state.connections.records, 'transaction', request, itself, concurrent)
}

async function writeRecords(state: TransactorState, batches: readonly Batch[]): Promise<void> {
  const { connections, identity, protocol } = state
  const { transactionalId, transactionTimeoutMs, nowMs } = state.options
  const produce = {
    api: protocol.produce,
    transactionalId,
    identity: { producerId: identity.id, producerEpoch: identity.epoch, timestampMs: nowMs() },
    ackTimeoutMs: Math.min(transactionTimeoutMs, 15_000),
  }
  const { failure } = await deliver(connections.records, batches, produce, transactionTimeoutMs).catch((error) => {
    state.over = `the delivery of its records broke off (${String(error)})`
    throw error
  })
  if (failure !== null) throw deliveryError(state, failure)
}

function deliveryError(state: TransactorState, failure: DeliveryFailure): PipelineError {
  // What was not written must not leave a gap: the next records get these sequence numbers.
  takeBackSequences(state, failure.unacknowledged)
  const error = undelivered(failure)
  if (failure.error !== 'UNREACHABLE' && producerFenced.has(failure.error))
    return workerError(state.options, 'Produce', failure.error)
  if (
    failure.uncertain ||
    failure.error === 'OUT_OF_ORDER_SEQUENCE_NUMBER' ||
    failure.error === 'UNKNOWN_PRODUCER_ID'
  ) {
    state.over = `it is not known which records of an aborted transaction were written (${error.message})`
  }
  return new PipelineError(
    'transaction_aborted',
    `A transaction of "${state.options.worker}" was aborted. ${error.message}`,
    { cause: failure.cause ?? error, details: error.details },
  )
}

function takeBackSequences({ sequences }: TransactorState, batches: readonly Batch[]): void {
  for (const batch of [...batches].reverse()) sequences.set(partitionKey(batch), batch.baseSequence)
}

async function writeOffsets(
  state: TransactorState,
  offsets: readonly OffsetToCommit[],
  membership: Membership,
): Promise<void> {
  const { connections, identity, protocol } = state
  const { transactionalId, group, worker } = state.options
  if (!protocol.isImplicit) {
    const add = addOffsetsRequest(transactionalId, identity, group)
    await ask(state, connections.offsets, 'transaction', add, itself, concurrent)
  }
  const member = { group, instanceId: worker }
  const request = txnOffsetCommitRequest(
    protocol.txnOffsetCommit,
    transactionalId,
    identity,
    member,
    membership,
    offsets,
  )
  await ask(state, connections.offsets, 'group', request, itself, concurrentOrUnknown)
}

/** Nothing of it becomes visible: it is ended here, or by the coordinator when the transaction times out. */
async function abort(state: TransactorState): Promise<void> {
  try {
    await endTransaction(state, false)
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    // INVALID_TXN_STATE: it had not begun.
    if (error.details.error !== 'INVALID_TXN_STATE')
      state.over ??= `its last transaction could not be ended (${error.message})`
  }
}

async function commit(state: TransactorState): Promise<void> {
  try {
    await endTransaction(state, true)
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    state.over = `its last transaction could not be committed (${error.message})`
    const answered = error.details.error as KafkaError | undefined
    const isDecided = answered !== undefined && !staleCoordinator.has(answered) && !concurrent.has(answered)
    if (isDecided) throw error
    throw new PipelineError(
      'kafka_unreachable',
      `Whether the last transaction of "${state.options.worker}" was committed is not known: ` +
        'close this worker; the next one reads the committed offsets',
      { cause: error, details: error.details },
    )
  }
}

async function endTransaction(state: TransactorState, isCommit: boolean): Promise<void> {
  const { options, protocol, identity, sequences } = state
  const request = endTransactionRequest(protocol.endTxn, options.transactionalId, identity, isCommit)
  const errorOf = ({ error }: TransactionEnded) => error
  const { producer } = await ask(state, state.connections.records, 'transaction', request, errorOf, concurrent)
  // Each epoch numbers its records from 0.
  if (producer.epoch !== identity.epoch || producer.id !== identity.id) sequences.clear()
  state.identity = producer
}

/**
 * Asks the coordinator of the transaction or the group until there is a final answer; throws what an error in it means
 * for the transaction.
 */
async function ask<T>(
  { options }: TransactorState,
  via: Connections,
  kind: 'group' | 'transaction',
  request: KafkaRequest<T>,
  errorOf: (answer: T) => KafkaError,
  transient: ReadonlySet<KafkaError>,
): Promise<T> {
  const answer = await askCoordinator(via, {
    kind,
    key: kind === 'group' ? options.group : options.transactionalId,
    request,
    errorOf,
    transient,
    retryBudget: createRetryBudget(options.transactionTimeoutMs, 1.5, 20),
  })
  const error = errorOf(answer)
  if (error !== 'NONE') throw workerError(options, request.api.name, error)
  return answer
}

/** Of answers that are nothing but an error. */
const itself = (error: KafkaError) => error
