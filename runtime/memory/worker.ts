/** A worker of the memory broker: one transactional producer and one static member of the group, as one. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type {
  CommittedOffset,
  Membership,
  OffsetToCommit,
  OutRecord,
  TopicPartition,
  Worker,
  WorkerOptions,
} from '../broker.ts'
import type { Group } from './group.ts'
import type { Topics } from './topics.ts'
import { type Transaction, type Transactions, transactionalIdOf } from './transactions.ts'
import type { Waiting } from './waiting.ts'

/** Between fencing the producer of a name and joining under it a process does nothing else, ms. */
const supersededWithinMs = 1_500
/** The broker's default limit on the metadata of an offset, bytes. */
const metadataBytesMax = 4_096

/**
 * Called on the way through each transaction: at `begin` its records lie in the log and nothing is decided, at `committed` everything is
 * visible and the caller has not heard of it. What it throws at `begin` aborts the transaction; either way the caller gets it.
 * `owner` tells workers of one name apart.
 */
export type OnTransact = (stage: 'begin' | 'committed', worker: string, owner: string) => Promise<void>

/** Called when records that were written outside a transaction lie in the log, and the caller has not heard of it. */
export type OnPublish = (worker: string, owner: string) => Promise<void>

export interface WorkerParts {
  readonly topics: Topics
  readonly transactions: Transactions
  readonly group: Group
  readonly waiting: Waiting
  /** Whatever time has brought about happens now. */
  readonly settle: () => void
  readonly nextExpiryMs: () => number
  readonly elapsedMs: () => number
  /** Lets others run. */
  readonly turn: () => Promise<void>
  readonly write: (records: readonly OutRecord[], transaction: Transaction | null) => void
  readonly onTransact: OnTransact | undefined
  readonly onPublish: OnPublish | undefined
}

export interface MemoryWorker extends Worker {
  /** The process died: no call of its own is answered any more, and what it had open stays open. */
  crash(): void
  /** The process stands still: no heartbeat is sent until it goes on. */
  pause(): void
  resume(): void
}

/** Takes over the transactional id; the group is entered by `join`. */
export function createMemoryWorker(parts: WorkerParts, options: WorkerOptions): MemoryWorker {
  const { topics, transactions, group, waiting, settle, nextExpiryMs } = parts
  const { worker: name, transactionTimeoutMs, sessionTimeoutMs } = options
  settle()
  const producer = transactions.takeOver(transactionalIdOf(options.group, name))
  waiting.changed()
  const owner = `${producer.id}:${producer.epoch}`
  const memberId = `${name}-${owner}`
  let previous: Membership | null = null
  let isBusy = false
  /** Why nothing is answered any more. */
  let over: 'closed' | 'dead' | null = null
  let closing: Promise<void> | null = null

  function assertAlive(): void {
    settle()
    if (over === null) return
    throw new PipelineError('kafka_unreachable', `Worker "${name}" of group ${options.group} is ${over}`)
  }

  /** The producer's epoch is not the newest: another process took the name, or a transaction of this one timed out. */
  function fenced(): PipelineError {
    const details = { group: options.group, worker: name, owner }
    if (group.isTaken(name, memberId)) {
      const message = `Another process works under the name "${name}" in group ${options.group}`
      return new PipelineError('superseded', message, { details })
    }
    const message = `The producer of "${name}" in group ${options.group} is no longer the newest of its name`
    return new PipelineError('fenced', message, { details })
  }

  /** One that takes over fences the producer a moment before it joins: which of the two it is takes as long to be known. */
  async function fencedFor(waitMs: number): Promise<PipelineError> {
    const isTaken = () => (group.isTaken(name, memberId) ? true : null)
    const untilMs = parts.elapsedMs() + waitMs
    await waiting.until(isTaken, { untilMs, wakeAtMs: nextExpiryMs })
    return fenced()
  }

  async function join(): Promise<Membership> {
    await parts.turn()
    assertAlive()
    if (!transactions.isCurrent(producer)) throw fenced()
    const rebalanceTimeoutMs = Math.max(sessionTimeoutMs, transactionTimeoutMs)
    const enter = () => {
      group.enter({ name, memberId, stages: options.stages, previous, sessionTimeoutMs, rebalanceTimeoutMs })
      waiting.changed()
    }
    enter()
    const seat = await waiting.until(
      () => {
        assertAlive()
        if (!transactions.isCurrent(producer)) throw fenced()
        // One that was paused for longer than its session meanwhile has been expelled.
        if (!group.names().has(name)) enter()
        return group.seat(name, memberId)
      },
      { untilMs: Number.POSITIVE_INFINITY, wakeAtMs: nextExpiryMs },
    )
    assert(seat, 'without an end the wait ends with a seat')
    previous = seat
    transactions.endAbandoned(options.group, group.names())
    waiting.changed()
    return seat
  }

  function isCurrent(membership: Membership): boolean {
    settle()
    return over === null && group.isCurrent(name, membership)
  }

  async function committed(places: readonly TopicPartition[]): Promise<CommittedOffset[]> {
    await parts.turn()
    const found = await waiting.until(
      () => {
        assertAlive()
        if (places.some((place) => transactions.isUnstable(options.group, place))) return null
        return places.map((place) => transactions.committed(options.group, place))
      },
      { untilMs: Number.POSITIVE_INFINITY, wakeAtMs: nextExpiryMs },
    )
    assert(found, 'without an end the wait ends with offsets')
    return found
  }

  async function transact(
    records: readonly OutRecord[],
    offsets: readonly OffsetToCommit[],
    membership: Membership,
  ): Promise<void> {
    assert(!isBusy, 'one transaction at a time')
    if (records.length === 0 && offsets.length === 0) return
    isBusy = true
    try {
      await parts.turn()
      assertAlive()
      if (!transactions.isCurrent(producer)) throw await fencedFor(supersededWithinMs)
      for (const record of records) topics.log(record)
      const transaction = transactions.begin(producer, options.group, offsets, transactionTimeoutMs)
      try {
        parts.write(records, transaction)
        checkOffsets(offsets)
        checkMembership(membership)
        await parts.onTransact?.('begin', name, owner)
        assertAlive()
      } catch (error) {
        // A dead process aborts nothing: its transaction stays open until it times out or a successor comes.
        if (over === null && transaction.state === 'open') end(transaction, 'aborted')
        throw error
      }
      if (transaction.state !== 'open') throw await fencedFor(supersededWithinMs)
      end(transaction, 'committed')
      await parts.onTransact?.('committed', name, owner)
      assertAlive()
    } finally {
      isBusy = false
    }
  }

  function end(transaction: Transaction, state: 'committed' | 'aborted'): void {
    transactions.end(transaction, state)
    waiting.changed()
  }

  function checkOffsets(offsets: readonly OffsetToCommit[]): void {
    const large = offsets.find(({ metadata }) => Buffer.byteLength(metadata) > metadataBytesMax)
    if (!large) return
    throw new PipelineError(
      'transaction_aborted',
      `A transaction of "${name}" was aborted: the metadata of the offset of ${large.topic}, partition ${large.partition}, has ` +
        `${Buffer.byteLength(large.metadata)} bytes, expected at most ${metadataBytesMax}`,
    )
  }

  function checkMembership(membership: Membership): void {
    const refusal = group.refusal(name, membership)
    if (refusal === 'fenced') throw fenced()
    if (refusal === null) return
    throw new PipelineError(
      'rebalance',
      `"${name}" no longer holds generation ${membership.generation} of group ${options.group}`,
      {
        details: { group: options.group, worker: name, generation: membership.generation },
      },
    )
  }

  function stop(why: 'closed' | 'dead'): void {
    if (over !== null) return
    over = why
    group.silence(name, memberId)
    waiting.changed()
  }

  return {
    owner,
    join,
    isCurrent,
    committed,
    transact,
    async publish(records) {
      await parts.turn()
      assertAlive()
      parts.write(records, null)
      waiting.changed()
      await parts.onPublish?.(name, owner)
      assertAlive()
    },
    async commitOffsets(offsets, membership) {
      await parts.turn()
      assertAlive()
      checkOffsets(offsets)
      checkMembership(membership)
      transactions.commit(options.group, offsets)
    },
    async leave() {
      assertAlive()
      group.leave(name, memberId)
      waiting.changed()
      await parts.turn()
    },
    close() {
      stop('closed')
      closing ??= Promise.resolve()
      return closing
    },
    crash: () => stop('dead'),
    pause() {
      settle()
      group.silence(name, memberId)
    },
    resume() {
      settle()
      if (over === null) group.hear(name, memberId)
    },
  }
}
