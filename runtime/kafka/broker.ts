/**
 * The broker contract on a real Kafka: addresses come in, fetchers, producers, workers and topics go out; made by the
 * command line.
 */
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import type { SASLOptions } from 'kafkajs'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Broker } from '../broker.ts'
import { currentOffsets } from './committed-offsets.ts'
import { type Connections, createConnections } from './connections.ts'
import { createFetcher } from './fetcher.ts'
import { groupView } from './group-view.ts'
import type { KafkaLog } from './kafkajs-connection.ts'
import { createProducer } from './producer.ts'
import { removeWorker } from './remove-worker.ts'
import { requireRights } from './require-rights.ts'
import { topicSettings } from './topic-settings.ts'
import { bounds, ensureTopics, offsetsAt, partitionCounts } from './topics.ts'
import { createWorker } from './worker.ts'

export interface KafkaBrokerOptions {
  /** 'host:port', any of the cluster's brokers. */
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly ssl?: boolean | TlsOptions
  readonly sasl?: SASLOptions
  /** Told of connections that failed; nothing is logged without it. */
  readonly log?: KafkaLog
}

const connectTimeoutMs = 5_000
/**
 * A broker that takes a request and does not answer is given up after this; what it may take on purpose comes on top.
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

  const admin = handOut(connect())

  return {
    async clusterId() {
      const { clusterId } = await admin.metadata([])
      if (clusterId === null) throw new PipelineError('kafka_request_failed', 'This Kafka cluster has no id')
      return clusterId
    },
    ensureTopics: (topics) => ensureTopics(admin, topics),
    partitionCounts: (topics) => partitionCounts(admin, topics),
    requireRights: (needed) => requireRights(admin, needed),
    topicSettings: (topics, names) => topicSettings(admin, topics, names),
    bounds: (partitions) => bounds(admin, partitions),
    offsetsAt: (partitions, timeMs) => offsetsAt(admin, partitions, timeMs),
    group: (group) => groupView(admin, group),
    removeWorker: (group, worker) => removeWorker(admin, group, worker),
    committedOffsets: (group, partitions) => currentOffsets(admin, group, partitions),
    fetcher: async () => handOut(createFetcher(connect())),
    producer: async () => handOut(createProducer(connect(), nowMs)),
    async worker(workerOptions) {
      const records = handOut(connect())
      const offsets = handOut(connect())
      try {
        return handOut(await createWorker({ records, offsets }, workerOptions, nowMs))
      } catch (error) {
        await Promise.all([records.close(), offsets.close()])
        throw error
      }
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
