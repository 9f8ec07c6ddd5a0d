/** A worker of the memory broker: one transactional producer and one static member of the group, as one. Opened by `broker.ts`. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CommittedOffset, Membership, OffsetToCommit, TopicPartition, Worker, WorkerOptions } from '../broker.ts'
import type { Outgoing } from '../framed-records.ts'
import { type Cluster, nextExpiryMs, settle, writeRecords } from './cluster.ts'
import type { Group } from './group.ts'
import { type ProducerIdentity, type Transaction, transactionalIdOf } from './transactions.ts'

/** A process that starts fences the former producer of its name and joins the group at most this much later, ms. */
const supersededWithinMs = 1_500
/** The broker's default limit on the metadata of an offset, bytes. */
const metadataBytesMax = 4_096

/**
 * Called during each transaction: at `begin` its records are in the log and nothing is decided, at `committed` everything is
 * visible and the caller has no answer yet. What it throws at `begin` aborts the transaction; either way the caller gets it.
 * `owner` distinguishes workers of one name.
 */
export type OnTransact = (stage: 'begin' | 'committed', worker: string, owner: string) => Promise<void>

/** Called when records that were written outside a transaction are in the log, before the caller has an answer. */
export type OnPublish = (worker: string, owner: string) => Promise<void>

/** For tests: what they throw, the caller gets. */
export interface FaultHooks {
  readonly onTransact: OnTransact | undefined
  readonly onPublish: OnPublish | undefined
}

export interface MemoryWorker extends Worker {
  /** The process dies: its calls are not answered any more, and its open transaction stays open. */
  crash(): void
  /** The process is paused: no heartbeat is sent until it resumes. */
  pause(): void
  resume(): void
}

interface WorkerState {
  readonly cluster: Cluster
  readonly group: Group
  readonly options: WorkerOptions
  readonly hooks: FaultHooks
  readonly producer: ProducerIdentity
  readonly owner: string
  readonly memberId: string
  /** The last membership, so that tasks stay where they were. */
  previous: Membership | null
  isBusy: boolean
  /** Why no call is answered any more. */
  over: 'closed' | 'dead' | null
  closing: Promise<void> | null
}

/** Takes over the transactional id; the group is entered by `join`. */
export function createMemoryWorker(
  cluster: Cluster,
  group: Group,
  options: WorkerOptions,
  hooks: FaultHooks,
): MemoryWorker {
  const state = startWorker(cluster, group, options, hooks)
  const { memberId } = state
  const name = options.worker
  return {
    owner: state.owner,
    join: () => join(state),
    isCurrent(membership) {
      settle(cluster)
      return state.over === null && group.isCurrent(name, membership)
    },
    committed: (partitions) => committed(state, partitions),
    transact: (records, offsets, membership) => transact(state, records, offsets, membership),
    publish: (records) => publish(state, records),
    commitOffsets: (offsets, membership) => commitOffsets(state, offsets, membership),
    leave: () => leave(state),
    close() {
      stop(state, 'closed')
      state.closing ??= Promise.resolve()
      return state.closing
    },
    crash: () => stop(state, 'dead'),
    pause() {
      settle(cluster)
      group.stopHeartbeats(name, memberId)
    },
    resume() {
      settle(cluster)
      if (state.over === null) group.resumeHeartbeats(name, memberId)
    },
  }
}

function startWorker(cluster: Cluster, group: Group, options: WorkerOptions, hooks: FaultHooks): WorkerState {
  settle(cluster)
  const producer = cluster.transactions.takeOver(transactionalIdOf(options.group, options.worker))
  cluster.waiting.changed()
  const owner = `${producer.id}:${producer.epoch}`
  const memberId = `${options.worker}-${owner}`
  return {
    cluster,
    group,
    options,
    hooks,
    producer,
    owner,
    memberId,
    previous: null,
    isBusy: false,
    over: null,
    closing: null,
  }
}

async function join(state: WorkerState): Promise<Membership> {
  const { cluster, group, options, memberId } = state
  const { transactions, waiting } = cluster
  await cluster.clock.turn()
  assertActive(state)
  enterGroup(state)
  const membership = await waitFor(state, () => {
    assertActive(state)
    // A worker that was paused for longer than its session has been expelled meanwhile.
    if (!group.names().has(options.worker)) enterGroup(state)
    return group.membershipOf(options.worker, memberId)
  })
  state.previous = membership
  transactions.endAbandoned(options.group, group.names())
  waiting.changed()
  return membership
}

function enterGroup({ cluster, group, options, memberId, previous }: WorkerState): void {
  const { worker: name, stages, sessionTimeoutMs, transactionTimeoutMs } = options
  const rebalanceTimeoutMs = Math.max(sessionTimeoutMs, transactionTimeoutMs)
  group.enter({ name, memberId, stages, previous, sessionTimeoutMs, rebalanceTimeoutMs })
  cluster.waiting.changed()
}

async function committed(state: WorkerState, partitions: readonly TopicPartition[]): Promise<CommittedOffset[]> {
  const { transactions, clock } = state.cluster
  const { group } = state.options
  await clock.turn()
  return waitFor(state, () => {
    assertAlive(state)
    if (partitions.some((at) => transactions.isUnstable(group, at))) return null
    return partitions.map((at) => transactions.committed(group, at))
  })
}

/** The first answer that is not null, however long it takes. */
async function waitFor<T>({ cluster }: WorkerState, find: () => T | null): Promise<T> {
  const untilMs = Number.POSITIVE_INFINITY
  const found = await cluster.waiting.until(find, { untilMs, wakeAtMs: () => nextExpiryMs(cluster) })
  assert(found !== null, 'a wait without a limit ends with an answer')
  return found
}

async function transact(
  state: WorkerState,
  records: readonly Outgoing[],
  offsets: readonly OffsetToCommit[],
  membership: Membership,
): Promise<void> {
  const { cluster, options } = state
  const { transactions, topics } = cluster
  assert(!state.isBusy, 'one transaction at a time')
  if (records.length === 0 && offsets.length === 0) return
  state.isBusy = true
  try {
    await cluster.clock.turn()
    assertAlive(state)
    if (!transactions.isCurrent(state.producer)) throw await fencedAfterWait(state)
    for (const record of records) topics.log(record)
    const transaction = transactions.begin(state.producer, options.group, offsets, options.transactionTimeoutMs)
    await writeTransaction(state, transaction, records, membership)
    if (transaction.state !== 'open') throw await fencedAfterWait(state)
    endTransaction(state, transaction, 'committed')
    await state.hooks.onTransact?.('committed', options.worker, state.owner)
    assertAlive(state)
  } finally {
    state.isBusy = false
  }
}

/** Everything of a transaction up to its decision; where that fails, it is aborted. */
async function writeTransaction(
  state: WorkerState,
  transaction: Transaction,
  records: readonly Outgoing[],
  membership: Membership,
): Promise<void> {
  try {
    writeRecords(state.cluster, records, transaction)
    checkOffsets(state, transaction.offsets)
    checkMembership(state, membership)
    await state.hooks.onTransact?.('begin', state.options.worker, state.owner)
    assertAlive(state)
  } catch (error) {
    // A dead process aborts nothing: its transaction stays open until it times out or a successor starts.
    if (state.over === null && transaction.state === 'open') endTransaction(state, transaction, 'aborted')
    throw error
  }
}

function endTransaction({ cluster }: WorkerState, transaction: Transaction, outcome: 'committed' | 'aborted'): void {
  cluster.transactions.end(transaction, outcome)
  cluster.waiting.changed()
}

async function publish(state: WorkerState, records: readonly Outgoing[]): Promise<void> {
  const { cluster, options, hooks, owner } = state
  await cluster.clock.turn()
  assertAlive(state)
  writeRecords(cluster, records, null)
  cluster.waiting.changed()
  await hooks.onPublish?.(options.worker, owner)
  assertAlive(state)
}

async function commitOffsets(
  state: WorkerState,
  offsets: readonly OffsetToCommit[],
  membership: Membership,
): Promise<void> {
  const { cluster, options } = state
  await cluster.clock.turn()
  assertAlive(state)
  checkOffsets(state, offsets)
  checkMembership(state, membership)
  cluster.transactions.commit(options.group, offsets)
}

async function leave(state: WorkerState): Promise<void> {
  const { cluster, group, options, memberId } = state
  assertAlive(state)
  group.leave(options.worker, memberId)
  cluster.waiting.changed()
  await cluster.clock.turn()
}

function stop(state: WorkerState, why: 'closed' | 'dead'): void {
  if (state.over !== null) return
  state.over = why
  state.group.stopHeartbeats(state.options.worker, state.memberId)
  state.cluster.waiting.changed()
}

function assertAlive({ cluster, options, over }: WorkerState): void {
  settle(cluster)
  if (over === null) return
  throw new PipelineError('kafka_unreachable', `Worker "${options.worker}" of group ${options.group} is ${over}`)
}

function assertActive(state: WorkerState): void {
  assertAlive(state)
  if (!state.cluster.transactions.isCurrent(state.producer)) throw fenced(state)
}

/** The producer's epoch is not the newest: another process took the name, or a transaction of this one timed out. */
function fenced({ group, options, memberId, owner }: WorkerState): PipelineError {
  const { worker } = options
  const details = { group: options.group, worker, owner }
  if (group.isTaken(worker, memberId)) {
    const message = `Another process works under the name "${worker}" in group ${options.group}`
    return new PipelineError('superseded', message, { details })
  }
  const message = `The producer of "${worker}" in group ${options.group} is no longer the newest of its name`
  return new PipelineError('fenced', message, { details })
}

/** A process that takes over fences the producer shortly before it joins: waits for that join, to distinguish the two cases. */
async function fencedAfterWait(state: WorkerState): Promise<PipelineError> {
  const { cluster, group, options, memberId } = state
  const untilMs = cluster.clock.elapsedMs() + supersededWithinMs
  const isTaken = () => (group.isTaken(options.worker, memberId) ? true : null)
  await cluster.waiting.until(isTaken, { untilMs, wakeAtMs: () => nextExpiryMs(cluster) })
  return fenced(state)
}

function checkOffsets({ options }: WorkerState, offsets: readonly OffsetToCommit[]): void {
  const large = offsets.find(({ metadata }) => Buffer.byteLength(metadata) > metadataBytesMax)
  if (!large) return
  throw new PipelineError(
    'transaction_aborted',
    `A transaction of "${options.worker}" was aborted: the metadata of the offset of ${large.topic}, partition ${large.partition}, has ` +
      `${Buffer.byteLength(large.metadata)} bytes, expected at most ${metadataBytesMax}`,
  )
}

function checkMembership(state: WorkerState, membership: Membership): void {
  const { group, worker } = state.options
  const error = state.group.commitError(worker, membership)
  if (error === 'fenced') throw fenced(state)
  if (error === null) return
  throw new PipelineError(
    'rebalance',
    `"${worker}" no longer holds generation ${membership.generation} of group ${group}`,
    { details: { group, worker, generation: membership.generation } },
  )
}
