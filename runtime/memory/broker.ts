/**
 * The broker contract inside the process: topics, transactions and groups in memory with the semantics of Kafka, for embedded runs and
 * tests. What is held is bounded by `bytesMax`: the oldest records go first (`memory/retention.ts`), and none goes because of its age.
 * Time comes from the clock that is handed in.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type {
  Broker,
  FetchedPartition,
  Fetcher,
  FetchFrom,
  OutRecord,
  Producer,
  TopicPartition,
  WorkerOptions,
} from '../broker.ts'
import type { Clock } from '../clock.ts'
import { createGroup, type Group } from './group.ts'
import type { HeldBytes } from './partition-log.ts'
import { removeOldest } from './retention.ts'
import { createTopics } from './topics.ts'
import { createTransactions, type Transaction, transactionalIdOf } from './transactions.ts'
import { createWaiting } from './waiting.ts'
import { createMemoryWorker, type MemoryWorker, type OnPublish, type OnTransact } from './worker.ts'

export type { MemoryWorker, OnPublish, OnTransact } from './worker.ts'

export interface MemoryBrokerOptions {
  readonly clock: Clock
  readonly clusterId?: string
  /**
   * What all topics take together, bytes. Before more is written, the oldest records are removed, but none that a group has not consumed
   * and none of a topic that is kept for ever (`retention.ms` −1); where that makes no room the write is `kafka_request_failed`.
   */
  readonly bytesMax?: number
  /** For tests: makes transactions fail. */
  readonly onTransact?: OnTransact
  /** For tests: makes what is written outside transactions fail. */
  readonly onPublish?: OnPublish
}

export interface MemoryBroker extends Broker {
  /** Removes the records before `start` from a partition, as retention does. */
  truncate(topic: string, partition: number, start: number): void
  /** As an operator does: with all that groups have committed of it. */
  deleteTopic(topic: string): void
  /** As they expire once nobody was in the group for long. */
  forgetOffsets(group: string): void
  /**
   * The processes of this worker name die: their calls are rejected with `kafka_unreachable`, no heartbeat is sent, and a transaction
   * that one has open stays open until it times out or a worker of the same name comes.
   */
  crash(worker: string): void
  worker(options: WorkerOptions): Promise<MemoryWorker>
}

interface Closable {
  close(): Promise<void>
}

const bytesMaxDefault = 2 ** 31
/** Making room is a walk over all partitions: so much is made at once. */
const roomShare = 1 / 32
const noHeaders: Readonly<Record<string, Buffer>> = Object.freeze({})

export function createMemoryBroker(options: MemoryBrokerOptions): MemoryBroker {
  const { clock, clusterId = 'memory', bytesMax = bytesMaxDefault } = options
  const held: HeldBytes = { bytes: 0 }
  const topics = createTopics(held)
  const transactions = createTransactions(() => clock.elapsedMs())
  const groups = new Map<string, Group>()
  const waiting = createWaiting(clock)
  const handedOut = new Set<Closable>()
  const workers = new Map<MemoryWorker, string>()
  /** Groups by the topics that their members consume. */
  const consumers = new Map<string, Set<string>>()
  let closing: Promise<void> | null = null

  function settle(): void {
    let hasChanged = transactions.expire(clock.elapsedMs())
    for (const group of groups.values()) hasChanged = group.settle() || hasChanged
    if (hasChanged) waiting.changed()
  }

  function nextExpiryMs(): number {
    let next = transactions.nextExpiryMs()
    for (const group of groups.values()) next = Math.min(next, group.nextExpiryMs())
    return next
  }

  function write(records: readonly OutRecord[], transaction: Transaction | null): void {
    const logs = records.map((record) => topics.log(record))
    const added = records.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0)
    if (held.bytes + added > bytesMax) makeRoom(added)
    const appendedAtMs = clock.nowMs()
    records.forEach(({ key, value, headers = noHeaders }, at) => {
      logs[at]!.append({ appendedAtMs, key, value, headers }, transaction)
      transaction?.partitions.add(logs[at]!)
    })
  }

  function makeRoom(added: number): void {
    removeOldest(topics.logs(), held, bytesMax * (1 - roomShare) - added, consumedTo)
    if (held.bytes + added <= bytesMax) return
    throw new PipelineError(
      'kafka_request_failed',
      `The broker in memory holds ${held.bytes} bytes that are still needed and takes at most ${bytesMax}: ` +
        'use a real Kafka for more',
      { details: { bytes: held.bytes, added, bytesMax } },
    )
  }

  /** A group that has committed nothing yet needs everything. */
  function consumedTo(place: TopicPartition): number {
    const offsets = [...(consumers.get(place.topic) ?? [])].map(
      (group) => transactions.committed(group, place).offset ?? 0,
    )
    return Math.min(Number.POSITIVE_INFINITY, ...offsets)
  }

  function handOut<T extends Closable>(part: T): T {
    if (closing !== null) throw new PipelineError('kafka_unreachable', 'This broker in memory is closed')
    handedOut.add(part)
    return part
  }

  function openFetcher(): Fetcher {
    let isBusy = false
    let closed: Promise<void> | null = null

    async function fetch(from: readonly FetchFrom[], limits: { maxWaitMs: number; partitionBytesMax: number }) {
      assert(!isBusy, 'one fetch at a time')
      if (from.length === 0) return []
      isBusy = true
      try {
        // Without a turn of the event loop, a caller that always finds something would let nobody else run.
        await clock.turn()
        const look = () => {
          if (closed) throw new PipelineError('kafka_unreachable', 'This fetcher is closed')
          settle()
          const fetched = from.map((place) => fetchOne(place, limits.partitionBytesMax))
          return fetched.some(({ next, from }) => next > from) ? fetched : null
        }
        const untilMs = clock.elapsedMs() + limits.maxWaitMs
        const found = await waiting.until(look, { untilMs, wakeAtMs: nextExpiryMs })
        return found ?? from.map((place) => fetchOne(place, limits.partitionBytesMax))
      } finally {
        isBusy = false
      }
    }

    const fetcher: Fetcher = {
      fetch,
      close() {
        closed ??= Promise.resolve()
        handedOut.delete(fetcher)
        waiting.changed()
        return closed
      },
    }
    return handOut(fetcher)
  }

  function fetchOne({ topic, partition, offset }: FetchFrom, bytesMax: number): FetchedPartition {
    const log = topics.log({ topic, partition })
    const { start, end, stableEnd } = log
    if (offset < start || offset > end) {
      const why = offset < start ? `is gone: the log starts at ${start}` : `lies beyond the end of the log at ${end}`
      throw new PipelineError('log_truncated', `Offset ${offset} of ${topic}, partition ${partition}, ${why}`, {
        details: { topic, partition, offset, start, end },
      })
    }
    return { topic, partition, from: offset, ...log.read(offset, bytesMax), stableEnd, end, age: 0 }
  }

  function openProducer(): Producer {
    let closed: Promise<void> | null = null
    const producer: Producer = {
      async send(records) {
        if (closed) throw new PipelineError('kafka_unreachable', 'This producer is closed')
        write(records, null)
        waiting.changed()
        // As with fetches: whoever sends without end must let others run.
        await clock.turn()
      },
      close() {
        closed ??= Promise.resolve()
        handedOut.delete(producer)
        return closed
      },
    }
    return handOut(producer)
  }

  function groupOf(name: string): Group {
    const group = groups.get(name) ?? createGroup(() => clock.elapsedMs())
    groups.set(name, group)
    return group
  }

  return {
    clusterId: async () => clusterId,
    ensureTopics: async (specs) => topics.ensure(specs),
    partitionCounts: async (names) => new Map(names.map((topic) => [topic, topics.partitionCount(topic)])),
    // Nobody is refused anything here.
    requireRights: async () => undefined,
    topicSettings: async (of, names) =>
      new Map(
        of.map((topic) => [topic, new Map([...topics.settings(topic)].filter(([name]) => names.includes(name)))]),
      ),
    async bounds(partitions: readonly TopicPartition[]) {
      settle()
      return partitions.map(({ topic, partition }) => {
        const { start, stableEnd } = topics.log({ topic, partition })
        return { topic, partition, start, end: stableEnd }
      })
    },
    async offsetsAt(partitions, timeMs) {
      settle()
      return partitions.map((place) => ({ ...place, offset: topics.log(place).offsetAt(timeMs) }))
    },
    async group(name) {
      settle()
      return groups.get(name)?.view() ?? { state: 'empty', members: [] }
    },
    async removeWorker(name, worker) {
      settle()
      transactions.takeOver(transactionalIdOf(name, worker))
      groups.get(name)?.leave(worker, null)
      waiting.changed()
    },
    async committedOffsets(group, partitions) {
      settle()
      return partitions.map((place) => transactions.committed(group, place))
    },
    fetcher: async () => openFetcher(),
    producer: async () => openProducer(),
    async worker(workerOptions) {
      await clock.turn()
      const group = groupOf(workerOptions.group)
      for (const topic of workerOptions.stages.flatMap(({ topics }) => topics)) {
        consumers.set(topic, (consumers.get(topic) ?? new Set()).add(workerOptions.group))
      }
      const parts = {
        topics,
        transactions,
        group,
        waiting,
        settle,
        nextExpiryMs,
        elapsedMs: () => clock.elapsedMs(),
        turn: () => clock.turn(),
        write,
        onTransact: options.onTransact,
        onPublish: options.onPublish,
      }
      const worker = handOut(createMemoryWorker(parts, workerOptions))
      workers.set(worker, workerOptions.worker)
      return worker
    },
    close() {
      closing ??= Promise.all([...handedOut].map((part) => part.close())).then(() => undefined)
      return closing
    },
    truncate: (topic, partition, start) => topics.log({ topic, partition }).truncate(start),
    deleteTopic(topic) {
      topics.delete(topic)
      transactions.forget({ topic })
    },
    forgetOffsets: (group) => transactions.forget({ group }),
    crash(name) {
      for (const [worker, its] of workers) if (its === name) worker.crash()
    },
  }
}
