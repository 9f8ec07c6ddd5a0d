/**
 * The broker contract on a real Kafka: addresses come in, fetchers, producers, workers and topics go out; made by the
 * command line.
 */
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import type { SASLOptions } from 'kafkajs'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Broker, Worker, WorkerOptions } from '../broker.ts'
import { currentOffsets } from './committed-offsets.ts'
import { type Connections, createConnections } from './connections.ts'
import { createFetcher } from './fetcher.ts'
import { groupView } from './group-view.ts'
import type { KafkaLog } from './kafkajs-connection.ts'
import { createProducer } from './producer.ts'
import { removeWorker } from './remove-worker.ts'
import { requireRights } from './require-rights.ts'
import { topicSettings } from './topic-settings.ts'
import { addPartitions, alterTopicSettings, bounds, ensureTopics, offsetsAt, partitionCounts } from './topics.ts'
import { createWorker } from './worker.ts'

export interface KafkaBrokerOptions {
  /** 'host:port', any of the cluster's brokers. */
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly ssl?: boolean | TlsOptions
  readonly sasl?: SASLOptions
  /** Receives failed connections; nothing is logged without it. */
  readonly log?: KafkaLog
}

const connectTimeoutMs = 5_000
/**
 * How long a broker may take to answer a request; a wait that the request asks for is added.
 */
const requestTimeoutMs = 10_000
const retryBudgetMs = 30_000

interface Closable {
  close(): Promise<void>
}

/** Nothing is connected before the first call. Throws `config_invalid` for an address that is none. */
export function createKafkaBroker(options: KafkaBrokerOptions): Broker {
  const handedOut = new Set<Closable>()
  let closing: Promise<void> | null = null
  const nowMs = Date.now

  function connect(): Connections {
    if (closing !== null) throw new PipelineError('kafka_unreachable', 'This Kafka broker object is closed')
    return createConnections({ log: () => undefined, ...options, connectTimeoutMs, requestTimeoutMs, retryBudgetMs })
  }

  /** Whatever is still open when the broker closes is closed with it. */
  function handOut<T extends Closable>(part: T): T {
    const tracked: T = {
      ...part,
      close() {
        const closed = part.close()
        const forget = () => handedOut.delete(tracked)
        closed.then(forget, forget)
        return closed
      },
    }
    handedOut.add(tracked)
    return tracked
  }

  const shared = handOut(connect())

  async function openWorker(workerOptions: WorkerOptions): Promise<Worker> {
    const records = handOut(connect())
    const offsets = handOut(connect())
    try {
      return handOut(await createWorker({ records, offsets }, workerOptions, nowMs))
    } catch (error) {
      await Promise.all([records.close(), offsets.close()])
      throw error
    }
  }

  return {
    data: {
      partitionCounts: (topics) => partitionCounts(shared, topics),
      bounds: (partitions) => bounds(shared, partitions),
      offsetsAt: (partitions, timeMs) => offsetsAt(shared, partitions, timeMs),
      fetcher: async () => handOut(createFetcher(connect())),
      producer: async () => handOut(createProducer(connect(), nowMs)),
    },
    groups: {
      worker: openWorker,
      describe: (group) => groupView(shared, group),
      removeWorker: (group, worker) => removeWorker(shared, group, worker),
      committedOffsets: (group, partitions) => currentOffsets(shared, group, partitions),
    },
    admin: {
      clusterId: () => clusterId(shared),
      ensureTopics: (topics) => ensureTopics(shared, topics),
      requireRights: (needed) => requireRights(shared, needed),
      alterTopicSettings: (changes) => alterTopicSettings(shared, changes),
      addPartitions: (topics) => addPartitions(shared, topics),
      topicSettings: (topics, names) => topicSettings(shared, topics, names),
    },
    close() {
      closing ??= Promise.allSettled([...handedOut].map((part) => part.close())).then((results) => {
        const failed = results.find((result) => result.status === 'rejected')
        if (failed !== undefined) throw failed.reason
      })
      return closing
    },
  }
}

async function clusterId(connections: Connections): Promise<string> {
  const { clusterId } = await connections.metadata([])
  if (clusterId === null) throw new PipelineError('kafka_request_failed', 'This Kafka cluster has no id')
  return clusterId
}
