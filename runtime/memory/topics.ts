/** The topics of the memory broker: specs come in, partition logs go out. A topic or partition that does not exist is `topic_missing`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TopicPartition, TopicSpec } from '../broker.ts'
import { createPartitionLog, type HeldBytes, type PartitionLog } from './partition-log.ts'
import type { RetainedLog } from './retention.ts'

export interface Topics {
  ensure(specs: readonly TopicSpec[]): void
  delete(topic: string): void
  alter(topic: string, config: Readonly<Record<string, string>>): void
  grow(topic: string, partitions: number): void
  /** Null where the topic does not exist. */
  partitionCount(topic: string): number | null
  /** The settings that the topic was created with, and Kafka's defaults for the others. */
  settings(topic: string): ReadonlyMap<string, string>
  log(topicPartition: TopicPartition): PartitionLog
  /** Every partition of every topic. */
  logs(): RetainedLog[]
}

interface Topic {
  readonly logs: PartitionLog[]
  readonly settings: Map<string, string>
}

/** Kafka's defaults, except that topics use LogAppendTime, as `ensureTopics` creates them on Kafka. */
const defaultSettings = {
  'message.timestamp.type': 'LogAppendTime',
  'retention.ms': '604800000',
  'cleanup.policy': 'delete',
  'max.message.bytes': '1048588',
}

export function createTopics(held: HeldBytes): Topics {
  const topics = new Map<string, Topic>()

  function ensure(specs: readonly TopicSpec[]): void {
    for (const { topic, partitions, config } of specs) {
      const existing = topics.get(topic)?.logs
      if (!existing) {
        const logs = Array.from({ length: partitions }, () => createPartitionLog(held))
        topics.set(topic, { logs, settings: new Map(Object.entries({ ...defaultSettings, ...config })) })
      } else if (existing.length !== partitions) {
        throw new PipelineError(
          'topic_mismatch',
          `Topic ${topic} has ${existing.length} partitions where ${partitions} are needed`,
          { details: { topic, partitions: existing.length, expected: partitions } },
        )
      }
    }
  }

  function log({ topic, partition }: TopicPartition): PartitionLog {
    const found = topics.get(topic)?.logs[partition]
    if (found) return found
    throw new PipelineError('topic_missing', `Topic ${topic} does not exist or has no partition ${partition}`, {
      details: { topic, partition },
    })
  }

  function alter(topic: string, config: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(config)) existingTopic(topic).settings.set(name, value)
  }

  function grow(topic: string, partitions: number): void {
    const { logs } = existingTopic(topic)
    while (logs.length < partitions) logs.push(createPartitionLog(held))
  }

  function existingTopic(topic: string): Topic {
    const found = topics.get(topic)
    if (found) return found
    throw new PipelineError('topic_missing', `Topic ${topic} does not exist`, { details: { topic } })
  }

  function remove(topic: string): void {
    for (const gone of topics.get(topic)?.logs ?? []) gone.truncate(gone.end)
    topics.delete(topic)
  }

  function logs(): RetainedLog[] {
    return [...topics].flatMap(([topic, { logs, settings }]) => {
      const isKeptForEver = settings.get('retention.ms') === '-1' || settings.get('cleanup.policy') !== 'delete'
      return logs.map((log, partition) => ({ topic, partition, log, isKeptForEver }))
    })
  }

  const partitionCount = (topic: string) => topics.get(topic)?.logs.length ?? null
  const settings = (topic: string) => existingTopic(topic).settings
  return { ensure, delete: remove, alter, grow, partitionCount, settings, log, logs }
}
