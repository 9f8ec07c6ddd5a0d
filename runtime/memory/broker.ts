/**
 * The broker contract inside the process: topics, transactions and groups in memory with the semantics of Kafka, for embedded runs and
 * tests. What is held is bounded by `bytesMax`: the oldest records are removed first (`memory/retention.ts`), and none because of its age.
 * Time comes from the clock that is passed in.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Broker, BrokerAdmin, BrokerData, BrokerGroups, WorkerOptions } from '../broker.ts'
import type { Clock } from '../clock.ts'
import { type Closable, type Cluster, createCluster, groupOf, settle } from './cluster.ts'
import { createMemoryFetcher } from './fetcher.ts'
import { createMemoryProducer } from './producer.ts'
import { transactionalIdOf } from './transactions.ts'
import { createMemoryWorker, type FaultHooks, type MemoryWorker, type OnPublish, type OnTransact } from './worker.ts'

export type { MemoryWorker, OnPublish, OnTransact } from './worker.ts'

export interface MemoryBrokerOptions {
  readonly clock: Clock
  readonly clusterId?: string
  /**
   * What all topics take together, bytes. Before more is written, the oldest records are removed, except those that a group has not
   * consumed and those of topics without retention (`retention.ms` −1); where that makes no room the write is `kafka_request_failed`.
   */
  readonly bytesMax?: number
  /** For tests: makes transactions fail. */
  readonly onTransact?: OnTransact
  /** For tests: makes what is written outside transactions fail. */
  readonly onPublish?: OnPublish
}

/** As `BrokerGroups`; its workers can be crashed and paused. */
export interface MemoryGroups extends BrokerGroups {
  worker(options: WorkerOptions): Promise<MemoryWorker>
}

export interface MemoryBroker extends Broker {
  readonly groups: MemoryGroups
  /** Removes the records before `start` from a partition, as retention does. */
  truncate(topic: string, partition: number, start: number): void
  /** As an operator does: together with the offsets that groups have committed for it. */
  deleteTopic(topic: string): void
  /** Removes the offsets of a group, as they expire on Kafka once a group has been empty for long. */
  forgetOffsets(group: string): void
  /**
   * Kills the processes of this worker name: their calls are rejected with `kafka_unreachable`, they send no heartbeats, and a
   * transaction that one has open stays open until it times out or a worker of the same name starts.
   */
  crash(worker: string): void
}

/** What `createMemoryBroker` keeps beside the cluster. */
interface BrokerState {
  readonly cluster: Cluster
  readonly workers: Map<MemoryWorker, string>
  closing: Promise<void> | null
}

const bytesMaxDefault = 2 ** 31

export function createMemoryBroker(options: MemoryBrokerOptions): MemoryBroker {
  const { clock, clusterId = 'memory', bytesMax = bytesMaxDefault } = options
  const cluster = createCluster(clock, bytesMax)
  const { topics, transactions } = cluster
  const state: BrokerState = { cluster, workers: new Map(), closing: null }
  return {
    data: dataOf(state),
    groups: groupsOf(state, { onTransact: options.onTransact, onPublish: options.onPublish }),
    admin: adminOf(cluster, clusterId),
    close() {
      state.closing ??= Promise.all([...cluster.openParts].map((part) => part.close())).then(() => undefined)
      return state.closing
    },
    truncate: (topic, partition, start) => topics.log({ topic, partition }).truncate(start),
    deleteTopic(topic) {
      topics.delete(topic)
      transactions.forget({ topic })
    },
    forgetOffsets: (group) => transactions.forget({ group }),
    crash(name) {
      for (const [worker, its] of state.workers) if (its === name) worker.crash()
    },
  }
}

function dataOf(state: BrokerState): BrokerData {
  const { cluster } = state
  const { topics } = cluster
  return {
    partitionCounts: async (names) => new Map(names.map((topic) => [topic, topics.partitionCount(topic)])),
    async bounds(partitions) {
      settle(cluster)
      return partitions.map(({ topic, partition }) => {
        const { start, stableEnd } = topics.log({ topic, partition })
        return { topic, partition, start, end: stableEnd }
      })
    },
    async offsetsAt(partitions, timeMs) {
      settle(cluster)
      return partitions.map((at) => ({ ...at, offset: topics.log(at).offsetAt(timeMs) }))
    },
    fetcher: async () => track(state, createMemoryFetcher(cluster)),
    producer: async () => track(state, createMemoryProducer(cluster)),
  }
}

function groupsOf(state: BrokerState, hooks: FaultHooks): MemoryGroups {
  const { cluster, workers } = state
  const { clock, transactions, groups, waiting, consumers } = cluster
  return {
    async worker(options) {
      await clock.turn()
      const group = groupOf(cluster, options.group)
      for (const topic of options.stages.flatMap(({ topics }) => topics)) {
        consumers.set(topic, (consumers.get(topic) ?? new Set()).add(options.group))
      }
      const worker = track(state, createMemoryWorker(cluster, group, options, hooks))
      workers.set(worker, options.worker)
      return worker
    },
    async describe(name) {
      settle(cluster)
      return groups.get(name)?.view() ?? { state: 'empty', members: [] }
    },
    async removeWorker(name, worker) {
      settle(cluster)
      transactions.takeOver(transactionalIdOf(name, worker))
      groups.get(name)?.leave(worker, null)
      waiting.changed()
    },
    async committedOffsets(group, partitions) {
      settle(cluster)
      return partitions.map((at) => transactions.committed(group, at))
    },
  }
}

function adminOf({ topics }: Cluster, clusterId: string): BrokerAdmin {
  return {
    clusterId: async () => clusterId,
    ensureTopics: async (specs) => topics.ensure(specs),
    // The memory broker has no access control.
    requireRights: async () => undefined,
    alterTopicSettings: async (changes) => {
      for (const { topic, config } of changes) topics.alter(topic, config)
    },
    addPartitions: async (grown) => {
      for (const { topic, partitions } of grown) topics.grow(topic, partitions)
    },
    topicSettings: async (of, names) =>
      new Map(
        of.map((topic) => [topic, new Map([...topics.settings(topic)].filter(([name]) => names.includes(name)))]),
      ),
  }
}

/** Whatever is still open when the broker closes is closed with it. */
function track<T extends Closable>({ cluster, closing }: BrokerState, part: T): T {
  if (closing !== null) throw new PipelineError('kafka_unreachable', 'This broker in memory is closed')
  cluster.openParts.add(part)
  return part
}
