/** Checks this user's rights on topics before anything is changed; a missing right is `kafka_refused`. Called by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TopicRights } from '../broker.ts'
import type { Connections } from './connections.ts'

export async function requireRights(
  connections: Pick<Connections, 'metadata'>,
  needed: readonly TopicRights[],
): Promise<void> {
  const names = needed.map(({ topic }) => topic)
  const { topics } = await connections.metadata(names, true)
  const allowed = new Map(topics.map(({ topic, operations }) => [topic, operations]))
  const missing = needed.flatMap(({ topic, rights }) => {
    const operations = allowed.get(topic)
    return operations ? rights.filter((right) => !operations.has(right)).map((right) => ({ topic, right })) : []
  })
  if (missing.length === 0) return
  const named = [...new Set(missing.map(({ right }) => right))].map((right) => {
    const of = missing.filter((one) => one.right === right).map(({ topic }) => topic)
    return `${right} on ${of.join(', ')}`
  })
  throw new PipelineError(
    'kafka_refused',
    `The Kafka user of this process lacks the rights to ${named.join(', and to ')}`,
    { details: { missing } },
  )
}
