/**
 * The transaction coordinator of the memory broker: who may write under which transactional id, what is open, and what times out.
 * Ending a transaction writes its markers; its offsets go to the group when it is committed.
 */
import type { CommittedOffset, OffsetToCommit, TopicPartition } from '../broker.ts'
import type { LogTransaction, PartitionLog } from './partition-log.ts'

export interface ProducerIdentity {
  readonly transactionalId: string
  readonly id: number
  readonly epoch: number
}

export interface Transaction extends LogTransaction {
  readonly partitions: Set<PartitionLog>
  readonly group: string
  readonly offsets: readonly OffsetToCommit[]
}

export interface Transactions {
  /** A new epoch: the former producer is fenced from here on, and its open transaction is aborted. */
  takeOver(transactionalId: string): ProducerIdentity
  /** Takes over the ids of workers that have an open transaction but are not in the group. */
  endAbandoned(group: string, members: ReadonlySet<string>): void
  isCurrent(producer: ProducerIdentity): boolean
  begin(producer: ProducerIdentity, group: string, offsets: readonly OffsetToCommit[], timeoutMs: number): Transaction
  end(transaction: Transaction, state: 'committed' | 'aborted'): void
  /** Outside a transaction. */
  commit(group: string, offsets: readonly OffsetToCommit[]): void
  /** Aborts the transactions that timed out and fences their producers; true where there was any. */
  expire(nowMs: number): boolean
  nextExpiryMs(): number
  /** The offsets of an open transaction do not count yet. */
  committed(group: string, topicPartition: TopicPartition): CommittedOffset
  /** Removes the offsets of a group, or those of a topic in every group. */
  forget(of: { readonly group?: string; readonly topic?: string }): void
  /** Whether a transaction with an offset of the partition is open. */
  isUnstable(group: string, topicPartition: TopicPartition): boolean
}

interface OpenTransaction extends Transaction {
  state: LogTransaction['state']
  readonly transactionalId: string
  readonly endsAtMs: number
}

/** Neither a group's name nor a worker's has a slash. */
export function transactionalIdOf(group: string, worker: string): string {
  return `${group}/${worker}`
}

interface CoordinatorState {
  readonly elapsedMs: () => number
  /** By transactional id. */
  readonly producers: Map<string, { readonly id: number; epoch: number }>
  readonly open: Set<OpenTransaction>
  readonly offsetsByGroup: Map<string, Map<string, CommittedOffset>>
}

export function createTransactions(elapsedMs: () => number): Transactions {
  const state: CoordinatorState = { elapsedMs, producers: new Map(), open: new Set(), offsetsByGroup: new Map() }
  const { producers, open } = state
  return {
    takeOver: (transactionalId) => takeOver(state, transactionalId),
    endAbandoned: (group, members) => endAbandoned(state, group, members),
    isCurrent: ({ transactionalId, epoch }) => producers.get(transactionalId)?.epoch === epoch,
    begin: (producer, group, offsets, timeoutMs) => begin(state, producer, group, offsets, timeoutMs),
    end: (transaction, outcome) => end(state, transaction as OpenTransaction, outcome),
    commit: (group, offsets) => commit(state, group, offsets),
    expire: (nowMs) => expire(state, nowMs),
    nextExpiryMs: () => Math.min(Number.POSITIVE_INFINITY, ...[...open].map(({ endsAtMs }) => endsAtMs)),
    committed: (group, topicPartition) => committed(state, group, topicPartition),
    forget: (of) => forget(state, of),
    isUnstable: (group, topicPartition) => isUnstable(state, group, topicPartition),
  }
}

function takeOver(state: CoordinatorState, transactionalId: string): ProducerIdentity {
  const { producers, open } = state
  for (const transaction of open) {
    if (transaction.transactionalId === transactionalId) end(state, transaction, 'aborted')
  }
  const producer = producers.get(transactionalId) ?? { id: producers.size + 1, epoch: -1 }
  producer.epoch++
  producers.set(transactionalId, producer)
  return { transactionalId, id: producer.id, epoch: producer.epoch }
}

function endAbandoned(state: CoordinatorState, group: string, members: ReadonlySet<string>): void {
  const prefix = transactionalIdOf(group, '')
  for (const { transactionalId } of state.open) {
    if (!transactionalId.startsWith(prefix) || members.has(transactionalId.slice(prefix.length))) continue
    takeOver(state, transactionalId)
  }
}

function begin(
  { elapsedMs, open }: CoordinatorState,
  { transactionalId }: ProducerIdentity,
  group: string,
  offsets: readonly OffsetToCommit[],
  timeoutMs: number,
): Transaction {
  const endsAtMs = elapsedMs() + timeoutMs
  const partitions = new Set<PartitionLog>()
  const transaction: OpenTransaction = { state: 'open', partitions, group, offsets, transactionalId, endsAtMs }
  open.add(transaction)
  return transaction
}

function end(state: CoordinatorState, transaction: OpenTransaction, outcome: 'committed' | 'aborted'): void {
  transaction.state = outcome
  state.open.delete(transaction)
  for (const log of transaction.partitions) log.marker(transaction)
  if (outcome === 'committed') commit(state, transaction.group, transaction.offsets)
}

function commit({ offsetsByGroup }: CoordinatorState, group: string, offsets: readonly OffsetToCommit[]): void {
  const committed = offsetsByGroup.get(group) ?? new Map<string, CommittedOffset>()
  offsetsByGroup.set(group, committed)
  for (const { topic, partition, offset, metadata } of offsets) {
    committed.set(keyOf({ topic, partition }), { topic, partition, offset, metadata })
  }
}

function expire(state: CoordinatorState, nowMs: number): boolean {
  let hasExpired = false
  for (const transaction of state.open) {
    if (transaction.endsAtMs > nowMs) continue
    state.producers.get(transaction.transactionalId)!.epoch++
    end(state, transaction, 'aborted')
    hasExpired = true
  }
  return hasExpired
}

function committed(
  { offsetsByGroup }: CoordinatorState,
  group: string,
  { topic, partition }: TopicPartition,
): CommittedOffset {
  const found = offsetsByGroup.get(group)?.get(keyOf({ topic, partition }))
  return found ?? { topic, partition, offset: null, metadata: '' }
}

function forget(
  { offsetsByGroup }: CoordinatorState,
  { group, topic }: { readonly group?: string; readonly topic?: string },
): void {
  if (group !== undefined) offsetsByGroup.delete(group)
  for (const offsets of offsetsByGroup.values()) {
    for (const [key, offset] of offsets) if (offset.topic === topic) offsets.delete(key)
  }
}

function isUnstable({ open }: CoordinatorState, group: string, { topic, partition }: TopicPartition): boolean {
  const isHere = (offset: TopicPartition) => offset.topic === topic && offset.partition === partition
  return [...open].some((transaction) => transaction.group === group && transaction.offsets.some(isHere))
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`
}
