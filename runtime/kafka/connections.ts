/**
 * One set of connections to the cluster with its picture of who leads and coordinates what. Every fetcher, producer
 * and worker has its own, so that nobody waits behind a parked request of somebody else: brokers answer one request
 * of a connection at a time.
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
import { type Address, placeOf, unreachable } from './connection-failure.ts'
import { createEndpoints, parseAddress } from './endpoints.ts'
import { failureCode, namingRight, staleCoordinator } from './error-codes.ts'
import type { KafkaEndpointOptions } from './kafkajs-connection.ts'
import type { KafkaRequest } from './request.ts'
import { createRetryBudget } from './retry-budget.ts'

const coordinatorRights = { group: 'Read', transaction: 'Write' } as const

export interface ConnectionsOptions extends KafkaEndpointOptions {
  /** 'host:port', any of the cluster's brokers. */
  readonly brokers: readonly string[]
  /** What fails for a passing reason is tried again for at most this long, ms. */
  readonly retryBudgetMs: number
}

export interface Connections {
  readonly retryBudgetMs: number
  /** Sends to one broker. Rejects with `kafka_unreachable` when no answer came, and then forgets the connection. */
  send<T>(nodeId: number, request: KafkaRequest<T>): Promise<T>
  /** As `send`; null where the broker does not speak this API. */
  sendIfSpoken<T>(nodeId: number, request: KafkaRequest<T>): Promise<T | null>
  /** Sends to whichever broker answers, trying all known ones and the configured ones. */
  sendToAny<T>(request: KafkaRequest<T>): Promise<T>
  /** Fresh metadata of these topics; also renews the picture that `leaderOf` reads. `withOperations`: what this user may do with them. */
  metadata(topics: readonly string[], withOperations?: boolean): Promise<ClusterMetadata>
  /** Node that leads the partition as far as is known; undefined: ask `findLeaders`. */
  leaderOf(partition: TopicPartition): number | undefined
  /**
   * Learns the leaders anew. A partition that does not exist is `topic_missing`; one without a leader stays unknown.
   */
  findLeaders(partitions: readonly TopicPartition[]): Promise<void>
  /** Node of the coordinator, cached until `forgetCoordinator`. */
  coordinator(kind: CoordinatorKind, key: string): Promise<number>
  forgetCoordinator(kind: CoordinatorKind, key: string): void
  /** True from the moment of `close`: nothing more will be answered, so nobody should try again. */
  isClosed(): boolean
  close(): Promise<void>
}

export function createConnections(options: ConnectionsOptions): Connections {
  const seeds = options.brokers.map(parseAddress)
  const endpoints = createEndpoints(options)
  const addresses = new Map<number, Address>()
  const leaders = new Map<string, readonly number[]>()
  const coordinators = new Map<string, Promise<number>>()

  async function addressOf(nodeId: number): Promise<Address> {
    if (!addresses.has(nodeId)) await metadata([])
    const address = addresses.get(nodeId)
    if (address === undefined) throw unreachable(`node ${nodeId}`, new Error('the cluster does not list this node'))
    return address
  }

  async function send<T>(nodeId: number, request: KafkaRequest<T>): Promise<T> {
    return await endpoints.send(await addressOf(nodeId), request)
  }

  async function sendToAny<T>(request: KafkaRequest<T>): Promise<T> {
    const candidates = new Map([...addresses.values(), ...seeds].map((address) => [placeOf(address), address]))
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

  async function metadata(topics: readonly string[], withOperations = false): Promise<ClusterMetadata> {
    const answer = await sendToAny(metadataRequest(topics, withOperations))
    learnNodes(answer.nodes)
    for (const topic of answer.topics) {
      if (topic.error === 'NONE') leaders.set(topic.topic, topic.leaders)
      else leaders.delete(topic.topic)
    }
    return answer
  }

  function learnNodes(nodes: readonly NodeAddress[]): void {
    for (const { nodeId, host, port } of nodes) addresses.set(nodeId, { host, port })
  }

  async function findLeaders(partitions: readonly TopicPartition[]): Promise<void> {
    const topics = [...new Set(partitions.map(({ topic }) => topic))]
    // A topic that was just created is not known to every broker at once.
    const retryBudget = createRetryBudget(1_000, 50)
    for (;;) {
      const { topics: found } = await metadata(topics)
      const refused = found.find(({ error }) => error !== 'NONE' && error !== 'LEADER_NOT_AVAILABLE')
      const beyond = partitions.find(({ topic, partition }) => {
        const known = leaders.get(topic)
        return known !== undefined && known[partition] === undefined
      })
      if (refused === undefined && beyond === undefined) return
      const passing = refused === undefined || refused.error === 'UNKNOWN_TOPIC_OR_PARTITION'
      if (passing && (await retryBudget.again())) continue
      if (refused !== undefined && !passing) {
        throw new PipelineError(failureCode(refused.error), `Kafka refuses topic ${refused.topic}: ${refused.error}`, {
          details: { topic: refused.topic, error: refused.error },
        })
      }
      const what =
        refused === undefined ? `partition ${beyond?.partition} of topic ${beyond?.topic}` : `topic ${refused.topic}`
      throw new PipelineError('topic_missing', `Kafka has no ${what}`, { details: { ...(refused ?? beyond) } })
    }
  }

  async function findCoordinator(kind: CoordinatorKind, key: string): Promise<number> {
    const retryBudget = createRetryBudget(options.retryBudgetMs)
    for (;;) {
      const found = await sendToAny(findCoordinatorRequest(kind, key))
      if (found.error === 'NONE') {
        learnNodes([found])
        return found.nodeId
      }
      if (staleCoordinator.has(found.error) && (await retryBudget.again())) continue
      throw new PipelineError(
        failureCode(found.error),
        `Kafka names no coordinator for the ${kind} "${key}": ${namingRight(found.error, coordinatorRights[kind])}`,
        {
          details: { kind, key, error: found.error },
        },
      )
    }
  }

  return {
    retryBudgetMs: options.retryBudgetMs,
    send,
    sendIfSpoken: async (nodeId, request) => endpoints.sendIfSpoken(await addressOf(nodeId), request),
    sendToAny,
    metadata,
    findLeaders,
    leaderOf({ topic, partition }) {
      const leader = leaders.get(topic)?.[partition]
      return leader === undefined || leader < 0 ? undefined : leader
    },
    coordinator(kind, key) {
      const name = `${kind} ${key}`
      let finding = coordinators.get(name)
      if (finding === undefined) {
        finding = findCoordinator(kind, key)
        coordinators.set(name, finding)
        finding.catch(() => coordinators.delete(name))
      }
      return finding
    },
    forgetCoordinator(kind, key) {
      coordinators.delete(`${kind} ${key}`)
    },
    isClosed: endpoints.isClosed,
    close: endpoints.close,
  }
}
