/** The topics of the memory broker: specs come in, partition logs go out. What does not exist is `topic_missing`. */
import { PipelineError } from '../../schemas/errors.ts'
import type { TopicPartition, TopicSpec } from '../broker.ts'
import { createPartitionLog, type PartitionLog } from './partition-log.ts'

export interface Topics {
  ensure(specs: readonly TopicSpec[]): void
  /** Null where the topic does not exist. */
  partitionCount(topic: string): number | null
  log(place: TopicPartition): PartitionLog
}

export function createTopics(): Topics {
  const topics = new Map<string, readonly PartitionLog[]>()

  function ensure(specs: readonly TopicSpec[]): void {
    for (const { topic, partitions } of specs) {
      const existing = topics.get(topic)
      if (!existing) topics.set(topic, Array.from({ length: partitions }, createPartitionLog))
      else if (existing.length !== partitions) {
        throw new PipelineError(
          'topic_mismatch',
          `Topic ${topic} has ${existing.length} partitions where ${partitions} are needed`,
          { details: { topic, partitions: existing.length, expected: partitions } },
        )
      }
    }
  }

  function log({ topic, partition }: TopicPartition): PartitionLog {
    const found = topics.get(topic)?.[partition]
    if (found) return found
    throw new PipelineError('topic_missing', `Topic ${topic} does not exist or has no partition ${partition}`, {
      details: { topic, partition },
    })
  }

  return { ensure, partitionCount: (topic) => topics.get(topic)?.length ?? null, log }
}
