/** `millrace topics`: every topic of a pipeline, whether Kafka has it as the pipeline needs it, and what to do where it has not. */
import type { BrokerAdmin } from '../../runtime/broker.ts'
import { formatDuration } from '../../schemas/kernel/duration.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { closedAfter, createShutdown } from '../shutdown.ts'
import { startLocalServers } from '../start-local-servers.ts'
import { shown, tableLines } from '../terminal.ts'
import { drainMaxMs } from '../until-stopped.ts'
import { writeFigures } from '../whole-file.ts'
import { reportTopics, type TopicReport } from './report.ts'
import { topicSpecs } from './requirements.ts'
import { unusedPartitions } from './unused-partitions.ts'

export interface TopicsCommandOptions {
  readonly create?: boolean
  readonly alter?: boolean
  readonly local?: boolean
  readonly json?: string
}

export async function topicsCommand(
  definition: string,
  options: TopicsCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  const plan = await loadPlan(definition, context.config)
  const shutdown = createShutdown()
  return closedAfter(shutdown, drainMaxMs, async () => {
    const { kafkaBrokers } = context.config
    // Those of a process beside this one are named by now.
    const { config } = options.local && kafkaBrokers.length === 0 ? await startLocalServers(context, shutdown) : context
    const broker = context.openBroker(config)
    shutdown.add('Kafka', broker.close)
    const describeTopics = () =>
      reportTopics({ plan, broker, partitions: config.partitions, brokers: config.kafkaBrokers, definition })
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
    const altered = options.alter ? await alterTopics(broker.admin, topics) : []
    if (altered.length > 0) topics = await describeTopics()
    const scored = topics.find(({ topic }) => topic === plan.scored.topic)!
    const unused = unusedPartitions(context.env, {
      topic: scored.topic,
      found: created.includes(scored.topic) ? null : scored.partitions.found,
    })
    if (unused !== null) terminal.err(`${unused}.`)
    print(topics, { created, altered, definition }, terminal.out)
    await writeFigures(options.json, { topics, created, altered })
    return topics.every(({ problems }) => problems.length === 0) ? exitCodes.done : exitCodes.failed
  })
}

/** What was changed, a sentence each. */
async function alterTopics(admin: BrokerAdmin, topics: readonly TopicReport[]): Promise<string[]> {
  const changes = topics.flatMap(({ topic, problems }) => problems.map(({ change }) => ({ topic, change })))
  const grown = changes.flatMap(({ topic, change }) =>
    change?.partitions === undefined ? [] : [{ topic, partitions: change.partitions }],
  )
  const set = changes.flatMap(({ topic, change }) =>
    change?.config === undefined ? [] : [{ topic, config: change.config }],
  )
  await admin.addPartitions(grown)
  await admin.alterTopicSettings(set)
  const shownConfig = (config: object) => Object.entries(config).map(([name, value]) => `${name}=${value}`)
  return [
    ...grown.map(({ topic, partitions }) => `${topic}: ${partitions} partitions`),
    ...set.map(({ topic, config }) => `${topic}: ${shownConfig(config).join(', ')}`),
  ]
}

interface Done {
  readonly created: readonly string[]
  readonly altered: readonly string[]
  readonly definition: string
}

function print(
  topics: readonly TopicReport[],
  { created, altered, definition }: Done,
  out: (line: string) => void,
): void {
  const head = ['', 'topic', 'role', 'partitions', 'retention', 'timestamps', 'cleanup', 'offsets']
  for (const line of tableLines([head, ...topics.map(cells)])) out(line)
  for (const topic of created) out(`created ${topic}`)
  for (const change of altered) out(`changed ${change}`)
  const wrong = topics.filter(({ problems }) => problems.length > 0)
  for (const { topic, problems } of wrong) {
    for (const { message, remedy } of problems) {
      out(`${topic}: ${message}.`)
      out(`  ${remedy}`)
    }
  }
  const left = wrong.flatMap(({ problems }) => problems).filter(({ change }) => change !== null).length
  if (left > 0)
    out(`millrace topics ${definition} --alter makes ${left === 1 ? 'this change' : `${left} of these changes`}.`)
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
