/** Requests about the cluster itself: metadata, coordinators, topics and their settings, the bounds of partitions. */
import type { TopicPartition, TopicSpec } from '../broker.ts'
import { allowedOperations } from './allowed-operations.ts'
import { type KafkaError, kafkaError } from './error-codes.ts'
import { apis, groupByTopic, type KafkaRequest, request } from './request.ts'

export interface NodeAddress {
  readonly nodeId: number
  readonly host: string
  readonly port: number
}

export interface TopicMetadata {
  readonly topic: string
  readonly error: KafkaError
  /** Node id of the leader by partition; -1 where there is none at the moment. */
  readonly leaders: readonly number[]
  /** Null where they were not requested or the broker does not disclose them. */
  readonly operations: ReadonlySet<string> | null
}

export interface ClusterMetadata {
  readonly clusterId: string | null
  readonly controllerId: number
  readonly nodes: readonly NodeAddress[]
  readonly topics: readonly TopicMetadata[]
}

/** No topics given: only the nodes. Never creates a topic. `withOperations`: also what this user may do with each topic. */
export function metadataRequest(topics: readonly string[], withOperations = false): KafkaRequest<ClusterMetadata> {
  return request(
    apis.metadata,
    (writer) => {
      writer.array(topics, (topic) => writer.string(topic))
      writer.int8(0) // creates nothing
      writer.int8(0) // without what this user may do with the cluster
      writer.int8(withOperations ? 1 : 0)
    },
    (reader) => {
      const nodes = reader.array(() => {
        const node = { nodeId: reader.int32(), host: reader.text(), port: reader.int32() }
        reader.string() // rack
        return node
      })
      const clusterId = reader.string()
      const controllerId = reader.int32()
      const found = reader.array(() => {
        const error = kafkaError(reader.int16())
        const topic = reader.text()
        reader.int8() // internal or not
        const leaders: number[] = []
        reader.array(() => {
          reader.int16() // a partition without a leader has leader -1 as well
          const partition = reader.int32()
          leaders[partition] = reader.int32()
          reader.int32() // leader epoch
          for (let lists = 0; lists < 3; lists++) reader.array(() => reader.int32()) // replicas, in sync, offline
        })
        return { topic, error, leaders, operations: allowedOperations(reader.int32()) }
      })
      reader.int32() // what this user may do with the cluster
      return { clusterId, controllerId, nodes, topics: found }
    },
  )
}

export type CoordinatorKind = 'group' | 'transaction'

export function findCoordinatorRequest(
  kind: CoordinatorKind,
  key: string,
): KafkaRequest<NodeAddress & { readonly error: KafkaError }> {
  return request(
    apis.findCoordinator,
    (writer) => {
      writer.string(key)
      writer.int8(kind === 'group' ? 0 : 1)
    },
    (reader) => {
      const error = kafkaError(reader.int16())
      reader.string() // the error in words
      return { error, nodeId: reader.int32(), host: reader.text(), port: reader.int32() }
    },
  )
}

export interface TopicOutcome {
  readonly topic: string
  readonly error: KafkaError
  readonly reason: string | null
}

/** Replication is the broker's default. */
export function createTopicsRequest(topics: readonly TopicSpec[], timeoutMs: number): KafkaRequest<TopicOutcome[]> {
  return request(
    apis.createTopics,
    (writer) => {
      writer.array(topics, (spec) => {
        writer.string(spec.topic)
        writer.int32(spec.partitions)
        writer.int16(-1)
        writer.array([], () => undefined)
        writer.array(Object.entries(spec.config), ([name, value]) => {
          writer.string(name)
          writer.string(value)
        })
      })
      writer.int32(timeoutMs)
      writer.int8(0)
    },
    (reader) =>
      reader.array(() => ({ topic: reader.text(), error: kafkaError(reader.int16()), reason: reader.string() })),
    timeoutMs,
  )
}

/** No partition is placed by hand: the controller chooses the brokers. */
export function createPartitionsRequest(
  topics: ReadonlyArray<Pick<TopicSpec, 'topic' | 'partitions'>>,
  timeoutMs: number,
): KafkaRequest<TopicOutcome[]> {
  return request(
    apis.createPartitions,
    (writer) => {
      writer.array(topics, ({ topic, partitions }) => {
        writer.string(topic)
        writer.int32(partitions)
        writer.int32(-1) // no assignments
      })
      writer.int32(timeoutMs)
      writer.int8(0)
    },
    (reader) =>
      reader.array(() => ({ topic: reader.text(), error: kafkaError(reader.int16()), reason: reader.string() })),
    timeoutMs,
  )
}

const setOperation = 0

/** Settings that are not named stay as they are. */
export function alterTopicsRequest(
  changes: ReadonlyArray<Pick<TopicSpec, 'topic' | 'config'>>,
): KafkaRequest<TopicOutcome[]> {
  return request(
    apis.incrementalAlterConfigs,
    (writer) => {
      writer.array(changes, ({ topic, config }) => {
        writer.int8(topicResource)
        writer.string(topic)
        writer.array(Object.entries(config), ([name, value]) => {
          writer.string(name)
          writer.int8(setOperation)
          writer.string(value)
        })
      })
      writer.int8(0) // not only validated
    },
    (reader) =>
      reader.array(() => {
        const error = kafkaError(reader.int16())
        const reason = reader.string()
        reader.int8() // kind of resource
        return { topic: reader.text(), error, reason }
      }),
  )
}

export interface TopicSettings {
  readonly topic: string
  readonly error: KafkaError
  readonly reason: string | null
  /** Without those whose value the broker keeps to itself. */
  readonly settings: ReadonlyMap<string, string>
}

const topicResource = 2

/** Settings of topics as they hold, defaults included. No names given: all settings. Any broker answers. */
export function describeTopicsRequest(
  topics: readonly string[],
  names: readonly string[],
): KafkaRequest<TopicSettings[]> {
  return request(
    apis.describeConfigs,
    (writer) => {
      writer.array(topics, (topic) => {
        writer.int8(topicResource)
        writer.string(topic)
        writer.array(names, (name) => writer.string(name))
      })
      writer.int8(0) // without where each value comes from
    },
    (reader) =>
      reader.array(() => {
        const error = kafkaError(reader.int16())
        const reason = reader.string()
        reader.int8() // kind of resource
        const topic = reader.text()
        const settings = new Map<string, string>()
        reader.array(() => {
          const name = reader.text()
          const value = reader.string()
          for (let flags = 0; flags < 3; flags++) reader.int8() // read-only, where it comes from, secret
          reader.array(() => {
            reader.string()
            reader.string()
            reader.int8()
          })
          if (value !== null) settings.set(name, value)
        })
        return { topic, error, reason, settings }
      }),
  )
}

export type OffsetSpec = 'start' | 'stableEnd' | number

export interface PartitionOffset extends TopicPartition {
  readonly error: KafkaError
  readonly offset: number
}

/**
 * Start of the log, its last stable offset, or the first offset appended at a time (ms since 1970) or later, -1 where
 * there is none. A partition may be named once.
 */
export function listOffsetsRequest(
  partitions: readonly TopicPartition[],
  which: OffsetSpec,
): KafkaRequest<PartitionOffset[]> {
  const timestamp = typeof which === 'number' ? which : { start: -2, stableEnd: -1 }[which]
  return request(
    apis.listOffsets,
    (writer) => {
      writer.int32(-1)
      writer.int8(1)
      writer.array(groupByTopic(partitions), ([topic, list]) => {
        writer.string(topic)
        writer.array(list, ({ partition }) => {
          writer.int32(partition)
          writer.int64(timestamp)
        })
      })
    },
    (reader) => {
      const offsets: PartitionOffset[] = []
      reader.array(() => {
        const topic = reader.text()
        reader.array(() => {
          const partition = reader.int32()
          const error = kafkaError(reader.int16())
          reader.int64() // timestamp
          offsets.push({ topic, partition, error, offset: reader.int64() })
        })
      })
      return offsets
    },
  )
}
