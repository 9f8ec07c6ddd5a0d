/** `millrace topics`: every topic of a pipeline, whether Kafka has it as the pipeline needs it, and what to do where it has not. */
import { formatDuration } from '../../schemas/kernel/duration.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { shown, tableLines } from '../terminal.ts'
import { writeFigures } from '../whole-file.ts'
import { reportTopics, type TopicReport } from './report.ts'
import { topicSpecs } from './requirements.ts'

export interface TopicsCommandOptions {
  readonly create?: boolean
  readonly json?: string
}

export async function topicsCommand(
  definition: string,
  options: TopicsCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal } = context
  const plan = await loadPlan(definition, config.namespace)
  const broker = context.openBroker(config)
  const describeTopics = () =>
    reportTopics({ plan, broker, partitions: config.partitions, brokers: config.kafkaBrokers, definition })
  try {
    let topics = await describeTopics()
    let created: readonly string[] = []
    const missing = topics.filter(({ exists }) => !exists)
    if (options.create && missing.length > 0) {
      const needed = new Map(missing.map(({ topic, partitions }) => [topic, partitions.needed]))
      const specs = topicSpecs(plan, config.partitions).filter(({ topic }) => needed.has(topic))
      await broker.admin.ensureTopics(specs.map((spec) => ({ ...spec, partitions: needed.get(spec.topic)! })))
      created = specs.map(({ topic }) => topic)
      topics = await describeTopics()
    }
    print(topics, created, terminal.out)
    await writeFigures(options.json, { topics, created })
    return topics.every(({ problems }) => problems.length === 0) ? exitCodes.done : exitCodes.failed
  } finally {
    await broker.close()
  }
}

function print(topics: readonly TopicReport[], created: readonly string[], out: (line: string) => void): void {
  const head = ['', 'topic', 'role', 'partitions', 'retention', 'timestamps', 'cleanup', 'offsets']
  for (const line of tableLines([head, ...topics.map(cells)])) out(line)
  for (const topic of created) out(`created ${topic}`)
  const wrong = topics.filter(({ problems }) => problems.length > 0)
  for (const { topic, problems } of wrong) {
    for (const { message, remedy } of problems) {
      out(`${topic}: ${message}.`)
      out(`  ${remedy}`)
    }
  }
  const well = topics.length - wrong.length
  out(`${well} of ${topics.length} topics are as the pipeline needs them.`)
}

function cells({ topic, role, exists, partitions, retentionMs, ...more }: TopicReport): string[] {
  const state = exists ? (more.problems.length === 0 ? 'ok' : 'WRONG') : 'MISSING'
  if (!exists) return [state, topic, role, `- / ${partitions.needed}`, `- / ${shownMs(retentionMs.needed)}`]
  const offsets = more.offsets.reduce((sum, { start, end }) => sum + end - start, 0)
  return [
    state,
    topic,
    role,
    `${partitions.found} / ${partitions.needed}`,
    `${shownMs(retentionMs.found)} / ${shownMs(retentionMs.needed)}`,
    more.timestampType ?? '-',
    more.cleanupPolicy ?? '-',
    shown(offsets),
  ]
}

function shownMs(ms: number | null): string {
  if (ms === null) return '-'
  return ms < 0 ? 'forever' : formatDuration(ms)
}
