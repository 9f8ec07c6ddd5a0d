/** Settings of topics as the cluster applies them; called by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { describeTopicsRequest } from './cluster-requests.ts'
import type { Connections } from './connections.ts'
import { failureCode, namingRight } from './error-codes.ts'
import { createRetryBudget } from './retry-budget.ts'

const newTopicMs = 1_000

/** The settings `names` of each topic, without those that Kafka does not know or does not report. */
export async function topicSettings(
  connections: Pick<Connections, 'sendToAny' | 'retryBudgetMs'>,
  topics: readonly string[],
  names: readonly string[],
): Promise<Map<string, ReadonlyMap<string, string>>> {
  if (topics.length === 0) return new Map()
  // A topic that was just created is not known to every broker at once.
  const retryBudget = createRetryBudget(Math.min(newTopicMs, connections.retryBudgetMs), 50)
  for (;;) {
    const answers = await connections.sendToAny(describeTopicsRequest([...new Set(topics)], names))
    const failed = answers.find(({ error }) => error !== 'NONE' && error !== 'UNKNOWN_TOPIC_OR_PARTITION')
    if (failed !== undefined) {
      const { topic, error, reason } = failed
      throw new PipelineError(
        failureCode(error),
        `Kafka does not return the settings of topic ${topic}: ${namingRight(error, 'DescribeConfigs', reason ?? error)}`,
        { details: { topic, error } },
      )
    }
    const unknown = answers.find(({ error }) => error !== 'NONE')
    if (unknown === undefined) {
      // Without names, Kafka returns all settings.
      return new Map(
        answers.map(({ topic, settings }) => [topic, new Map([...settings].filter(([name]) => names.includes(name)))]),
      )
    }
    if (await retryBudget.again()) continue
    throw new PipelineError('topic_missing', `Kafka has no topic ${unknown.topic}`, {
      details: { topic: unknown.topic },
    })
  }
}
