/** The plan's topics as Kafka is to have them; `run` and `start` create or check them before anything else. */
import type { Broker, TopicSpec } from '../runtime/broker.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { Plan } from '../schemas/plan.ts'

/** `partitions`: of every topic whose count is the pipeline's to choose. */
export function topicSpecs(plan: Pick<Plan, 'topics'>, partitions: number): TopicSpec[] {
  return plan.topics.map((topic) => ({
    topic: topic.topic,
    partitions: topic.partitions ?? partitions,
    config: {
      'retention.ms': String(topic.retentionMs ?? -1),
      // Retention goes by append time: an old event that is appended today must not vanish tomorrow.
      'message.timestamp.type': 'LogAppendTime',
    },
  }))
}

/** Creates what is missing. Rejects with `topic_mismatch` where a topic has another partition count. */
export function ensureTopics(broker: Broker, plan: Pick<Plan, 'topics'>, partitions: number): Promise<void> {
  return broker.ensureTopics(topicSpecs(plan, partitions))
}

/** Partition counts of these topics. Rejects with one `topic_missing` that names all that do not exist. */
export async function requireTopics(
  broker: Pick<Broker, 'partitionCounts'>,
  topics: readonly string[],
): Promise<(topic: string) => number> {
  const counts = await broker.partitionCounts(topics)
  const missing = topics.filter((topic) => !counts.get(topic))
  if (missing.length > 0) {
    const named =
      missing.length === 1 ? `Topic ${missing[0]} does not exist` : `Topics ${missing.join(', ')} do not exist`
    throw new PipelineError('topic_missing', `${named}.`, { details: { topics: missing } })
  }
  return (topic) => counts.get(topic)!
}
