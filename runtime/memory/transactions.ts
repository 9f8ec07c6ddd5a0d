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
  /** A new epoch: the former producer is refused from here on, and its open transaction is aborted. */
  takeOver(transactionalId: string): ProducerIdentity
  /** Takes over the ids of workers that are not in the group and have a transaction open. */
  endAbandoned(group: string, members: ReadonlySet<string>): void
  isCurrent(producer: ProducerIdentity): boolean
  begin(producer: ProducerIdentity, group: string, offsets: readonly OffsetToCommit[], timeoutMs: number): Transaction
  end(transaction: Transaction, state: 'committed' | 'aborted'): void
  /** Outside a transaction. */
  commit(group: string, offsets: readonly OffsetToCommit[]): void
  /** Aborts what was open for too long and refuses its producer; true where there was any. */
  expire(nowMs: number): boolean
  nextExpiryMs(): number
  /** Those of an open transaction do not count yet. */
  committed(group: string, place: TopicPartition): CommittedOffset
  /** Of a group, or of a topic in every group. */
  forget(of: { readonly group?: string; readonly topic?: string }): void
  /** Whether a transaction with an offset of the partition is open. */
  isUnstable(group: string, place: TopicPartition): boolean
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

export function createTransactions(elapsedMs: () => number): Transactions {
  const producers = new Map<string, { readonly id: number; epoch: number }>()
  const open = new Set<OpenTransaction>()
  const offsetsByGroup = new Map<string, Map<string, CommittedOffset>>()

  function takeOver(transactionalId: string): ProducerIdentity {
    for (const transaction of open) if (transaction.transactionalId === transactionalId) end(transaction, 'aborted')
    const producer = producers.get(transactionalId) ?? { id: producers.size + 1, epoch: -1 }
    producer.epoch++
    producers.set(transactionalId, producer)
    return { transactionalId, id: producer.id, epoch: producer.epoch }
  }

  function endAbandoned(group: string, members: ReadonlySet<string>): void {
    const prefix = transactionalIdOf(group, '')
    for (const { transactionalId } of open) {
      if (!transactionalId.startsWith(prefix) || members.has(transactionalId.slice(prefix.length))) continue
      takeOver(transactionalId)
    }
  }

  function begin(
    { transactionalId }: ProducerIdentity,
    group: string,
    offsets: readonly OffsetToCommit[],
    timeoutMs: number,
  ): Transaction {
    const endsAtMs = elapsedMs() + timeoutMs
    const transaction: OpenTransaction = {
      state: 'open',
      partitions: new Set(),
      group,
      offsets,
      transactionalId,
      endsAtMs,
    }
    open.add(transaction)
    return transaction
  }

  function end(transaction: Transaction, state: 'committed' | 'aborted'): void {
    const ending = transaction as OpenTransaction
    ending.state = state
    open.delete(ending)
    for (const log of ending.partitions) log.mark(ending)
    if (state === 'committed') commit(ending.group, ending.offsets)
  }

  function commit(group: string, offsets: readonly OffsetToCommit[]): void {
    const committed = offsetsByGroup.get(group) ?? new Map<string, CommittedOffset>()
    offsetsByGroup.set(group, committed)
    for (const { topic, partition, offset, metadata } of offsets) {
      committed.set(placeName({ topic, partition }), { topic, partition, offset, metadata })
    }
  }

  function expire(nowMs: number): boolean {
    let hasExpired = false
    for (const transaction of open) {
      if (transaction.endsAtMs > nowMs) continue
      producers.get(transaction.transactionalId)!.epoch++
      end(transaction, 'aborted')
      hasExpired = true
    }
    return hasExpired
  }

  function committed(group: string, { topic, partition }: TopicPartition): CommittedOffset {
    const found = offsetsByGroup.get(group)?.get(placeName({ topic, partition }))
    return found ?? { topic, partition, offset: null, metadata: '' }
  }

  function forget({ group, topic }: { readonly group?: string; readonly topic?: string }): void {
    if (group !== undefined) offsetsByGroup.delete(group)
    for (const offsets of offsetsByGroup.values()) {
      for (const [name, offset] of offsets) if (offset.topic === topic) offsets.delete(name)
    }
  }

  function isUnstable(group: string, { topic, partition }: TopicPartition): boolean {
    const isHere = (offset: TopicPartition) => offset.topic === topic && offset.partition === partition
    return [...open].some((transaction) => transaction.group === group && transaction.offsets.some(isHere))
  }

  return {
    takeOver,
    endAbandoned,
    isCurrent: ({ transactionalId, epoch }) => producers.get(transactionalId)?.epoch === epoch,
    begin,
    end,
    commit,
    expire,
    nextExpiryMs: () => Math.min(Number.POSITIVE_INFINITY, ...[...open].map(({ endsAtMs }) => endsAtMs)),
    committed,
    forget,
    isUnstable,
  }
}

function placeName({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`
}
