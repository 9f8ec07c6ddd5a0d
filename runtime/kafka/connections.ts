/**
 * One set of connections to the cluster, with cached metadata: addresses, leaders, coordinators. Every fetcher, producer
 * and worker has its own, so that none waits behind a parked request of another: brokers answer one request of a
 * connection at a time.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TopicPartition } from '../broker.ts'
import {
  type ClusterMetadata,
  type CoordinatorKind,
  findCoordinatorRequest,
  metadataRequest,
  type NodeAddress,
} from './cluster-requests.ts'
import { type Address, addressText, unreachable } from './connection-failure.ts'
import { createEndpoints, type Endpoints, parseAddress } from './endpoints.ts'
import { failureCode, namingRight, staleCoordinator } from './error-codes.ts'
import type { KafkaEndpointOptions } from './kafkajs-connection.ts'
import type { KafkaRequest } from './request.ts'
import { createRetryBudget } from './retry-budget.ts'

const coordinatorRights = { group: 'Read', transaction: 'Write' } as const

export interface ConnectionsOptions extends KafkaEndpointOptions {
  /** 'host:port', any of the cluster's brokers. */
  readonly brokers: readonly string[]
  /** Transient failures are retried for at most this long, ms. */
  readonly retryBudgetMs: number
}

export interface Connections {
  readonly retryBudgetMs: number
  /** Sends to one broker. Rejects with `kafka_unreachable` when no answer came, and then forgets the connection. */
  send<T>(nodeId: number, request: KafkaRequest<T>): Promise<T>
  /** As `send`; null where the broker does not support this API. */
  sendIfSupported<T>(nodeId: number, request: KafkaRequest<T>): Promise<T | null>
  /** Sends to whichever broker answers, trying all known ones and the configured ones. */
  sendToAny<T>(request: KafkaRequest<T>): Promise<T>
  /** Fresh metadata of these topics; also refreshes what `leaderOf` reads. `withOperations`: what this user may do with them, too. */
  metadata(topics: readonly string[], withOperations?: boolean): Promise<ClusterMetadata>
  /** Node of the partition's leader as far as is known; undefined: call `findLeaders`. */
  leaderOf(partition: TopicPartition): number | undefined
  /**
   * Refreshes the leaders. A partition that does not exist is `topic_missing`; one without a leader stays unknown.
   */
  findLeaders(partitions: readonly TopicPartition[]): Promise<void>
  /** Node of the coordinator, cached until `forgetCoordinator`. */
  coordinator(kind: CoordinatorKind, key: string): Promise<number>
  forgetCoordinator(kind: CoordinatorKind, key: string): void
  /** True from the moment of `close`: nothing more will be answered, so retries are useless. */
  isClosed(): boolean
  close(): Promise<void>
}

interface ClusterState {
  readonly options: ConnectionsOptions
  /** The configured brokers. */
  readonly seeds: readonly Address[]
  readonly endpoints: Endpoints
  readonly addresses: Map<number, Address>
  /** Node of the leader by partition, by topic. */
  readonly leaders: Map<string, readonly number[]>
  readonly coordinators: Map<string, Promise<number>>
}

export function createConnections(options: ConnectionsOptions): Connections {
  const endpoints = createEndpoints(options)
  const cluster: ClusterState = {
    options,
    seeds: options.brokers.map(parseAddress),
    endpoints,
    addresses: new Map(),
    leaders: new Map(),
    coordinators: new Map(),
  }
  return {
    retryBudgetMs: options.retryBudgetMs,
    send: async (nodeId, request) => endpoints.send(await addressOf(cluster, nodeId), request),
    sendIfSupported: async (nodeId, request) => endpoints.sendIfSupported(await addressOf(cluster, nodeId), request),
    sendToAny: (request) => sendToAny(cluster, request),
    metadata: (topics, withOperations) => fetchMetadata(cluster, topics, withOperations),
    findLeaders: (partitions) => findLeaders(cluster, partitions),
    leaderOf({ topic, partition }) {
      const leader = cluster.leaders.get(topic)?.[partition]
      return leader === undefined || leader < 0 ? undefined : leader
    },
    coordinator: (kind, key) => coordinatorOf(cluster, kind, key),
    forgetCoordinator(kind, key) {
      cluster.coordinators.delete(`${kind} ${key}`)
    },
    isClosed: endpoints.isClosed,
    close: endpoints.close,
  }
}

async function addressOf(cluster: ClusterState, nodeId: number): Promise<Address> {
  if (!cluster.addresses.has(nodeId)) await fetchMetadata(cluster, [])
  const address = cluster.addresses.get(nodeId)
  if (address === undefined) throw unreachable(`node ${nodeId}`, new Error('the cluster does not list this node'))
  return address
}

async function sendToAny<T>({ addresses, seeds, endpoints }: ClusterState, request: KafkaRequest<T>): Promise<T> {
  const candidates = new Map([...addresses.values(), ...seeds].map((address) => [addressText(address), address]))
  const failures: PipelineError[] = []
  for (const address of candidates.values()) {
    try {
      return await endpoints.send(address, request)
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'kafka_unreachable') throw error
      failures.push(error)
    }
  }
  if (failures.length === 1) throw failures[0]
  const reasons = failures.map(({ message }) => message).join('; ')
  throw unreachable([...candidates.keys()].join(', '), new AggregateError(failures, reasons))
}

async function fetchMetadata(
  cluster: ClusterState,
  topics: readonly string[],
  withOperations = false,
): Promise<ClusterMetadata> {
  const answer = await sendToAny(cluster, metadataRequest(topics, withOperations))
  rememberNodes(cluster, answer.nodes)
  for (const topic of answer.topics) {
    if (topic.error === 'NONE') cluster.leaders.set(topic.topic, topic.leaders)
    else cluster.leaders.delete(topic.topic)
  }
  return answer
}

function rememberNodes({ addresses }: ClusterState, nodes: readonly NodeAddress[]): void {
  for (const { nodeId, host, port } of nodes) addresses.set(nodeId, { host, port })
}

async function findLeaders(cluster: ClusterState, partitions: readonly TopicPartition[]): Promise<void> {
  const topics = [...new Set(partitions.map(({ topic }) => topic))]
  // A topic that was just created is not known to every broker at once.
  const retryBudget = createRetryBudget(1_000, 50)
  for (;;) {
    const { topics: found } = await fetchMetadata(cluster, topics)
    const failed = found.find(({ error }) => error !== 'NONE' && error !== 'LEADER_NOT_AVAILABLE')
    const beyond = partitions.find(({ topic, partition }) => {
      const known = cluster.leaders.get(topic)
      return known !== undefined && known[partition] === undefined
    })
    if (failed === undefined && beyond === undefined) return
    const isTransient = failed === undefined || failed.error === 'UNKNOWN_TOPIC_OR_PARTITION'
    if (isTransient && (await retryBudget.again())) continue
    if (failed !== undefined && !isTransient) {
      throw new PipelineError(failureCode(failed.error), `Kafka refuses topic ${failed.topic}: ${failed.error}`, {
        details: { topic: failed.topic, error: failed.error },
      })
    }
    const missing =
      failed === undefined ? `partition ${beyond?.partition} of topic ${beyond?.topic}` : `topic ${failed.topic}`
    throw new PipelineError('topic_missing', `Kafka has no ${missing}`, { details: { ...(failed ?? beyond) } })
  }
}

function coordinatorOf(cluster: ClusterState, kind: CoordinatorKind, key: string): Promise<number> {
  const { coordinators } = cluster
  const name = `${kind} ${key}`
  let finding = coordinators.get(name)
  if (finding === undefined) {
    finding = findCoordinator(cluster, kind, key)
    coordinators.set(name, finding)
    finding.catch(() => coordinators.delete(name))
  }
  return finding
}

async function findCoordinator(cluster: ClusterState, kind: CoordinatorKind, key: string): Promise<number> {
  const retryBudget = createRetryBudget(cluster.options.retryBudgetMs)
  for (;;) {
    const found = await sendToAny(cluster, findCoordinatorRequest(kind, key))
    if (found.error === 'NONE') {
      rememberNodes(cluster, [found])
      return found.nodeId
    }
    if (staleCoordinator.has(found.error) && (await retryBudget.again())) continue
    throw new PipelineError(
      failureCode(found.error),
      `Kafka names no coordinator for the ${kind} "${key}": ${namingRight(found.error, coordinatorRights[kind])}`,
      { details: { kind, key, error: found.error } },
    )
  }
}
