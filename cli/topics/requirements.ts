/** The topics of a plan with the settings they need; `run` and `start` create or check them first, `topics` lists them. */
import type { BrokerAdmin, BrokerData, TopicRights, TopicSpec } from '../../runtime/broker.ts'
import { formatDuration } from '../../schemas/kernel/duration.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, TopicPlan } from '../../schemas/plan/plan.ts'
import { deadLetterBytesMax } from '../../schemas/wire/dead-letter.ts'

/** A setting without which a guarantee of the pipeline is lost. */
interface NeededSetting {
  readonly name: string
  /** The value that a topic is created with, or set to. */
  readonly value: string
  readonly expected: string
  readonly isMetBy: (value: string) => boolean
}

function exactly(name: string, value: string): NeededSetting {
  return { name, value, expected: value, isMetBy: (received) => received === value }
}

/** What Millrace may write into a topic as one record: events, slots and vectors are bounded by the checks of the definition. */
const recordBytes: Readonly<Record<TopicPlan['role'], number | null>> = {
  raw: null,
  repartition: 1_048_588,
  predictions: 1_048_588,
  rejected: deadLetterBytesMax,
  models: null,
  schemas: null,
  'raw schemas': null,
}

function atLeast(name: string, value: number): NeededSetting {
  return {
    name,
    value: String(value),
    expected: `at least ${value}`,
    isMetBy: (received) => Number(received) >= value,
  }
}

function neededSettings({ role, retentionMs }: TopicPlan): NeededSetting[] {
  const name = 'retention.ms'
  const bytes = recordBytes[role]
  return [
    // By a producer's own clock no event is ever dated ahead. Retention uses this time too: an old event that is
    // appended today must not vanish tomorrow.
    exactly('message.timestamp.type', 'LogAppendTime'),
    retentionMs === null
      ? { ...exactly(name, '-1'), expected: '-1 (forever)' }
      : {
          name,
          value: String(retentionMs),
          expected: `at least ${shownRetention(String(retentionMs))} or -1 (forever)`,
          isMetBy: (received) => received === '-1' || Number(received) >= retentionMs,
        },
    // Compaction keeps only the newest record of a key, regardless of the retention.
    exactly('cleanup.policy', 'delete'),
    // A record that the broker refuses would be tried again forever.
    ...(bytes === null ? [] : [atLeast('max.message.bytes', bytes)]),
  ]
}

/** `partitions`: of every topic whose count is the pipeline's to choose. */
export function topicSpecs(plan: Pick<Plan, 'topics'>, partitions: number): TopicSpec[] {
  return plan.topics.map((topic) => ({
    topic: topic.topic,
    partitions: topic.partitions ?? partitions,
    config: Object.fromEntries(neededSettings(topic).map(({ name, value }) => [name, value])),
  }))
}

/** Creates what is missing. Rejects with `topic_mismatch` where a topic has another partition count. */
export function ensureTopics(broker: BrokerAdmin, plan: Pick<Plan, 'topics'>, partitions: number): Promise<void> {
  return broker.ensureTopics(topicSpecs(plan, partitions))
}

/** Partition counts of these topics. Rejects with one `topic_missing` that names all that do not exist. */
export async function requireTopics(broker: BrokerData, topics: readonly string[]): Promise<(topic: string) => number> {
  const counts = await broker.partitionCounts(topics)
  const missing = topics.filter((topic) => !counts.get(topic))
  if (missing.length > 0) {
    const named =
      missing.length === 1 ? `Topic ${missing[0]} does not exist` : `Topics ${missing.join(', ')} do not exist`
    throw new PipelineError('topic_missing', `${named}.`, { details: { topics: missing } })
  }
  return (topic) => counts.get(topic)!
}

const rightsOfRun = {
  raw: ['Read'],
  repartition: ['Read', 'Write'],
  predictions: ['Write'],
  rejected: ['Write'],
  models: ['Read'],
  schemas: ['Read', 'Write'],
  'raw schemas': ['Read'],
} as const satisfies Record<TopicPlan['role'], TopicRights['rights']>

/**
 * What `run` does with the topics of the plan; events that come over HTTP take Write on the raw topics and on their topics of schemas as
 * well.
 */
export function rightsToRun(plan: Pick<Plan, 'topics'>): TopicRights[] {
  return plan.topics.map(({ topic, role }) => ({ topic, rights: rightsOfRun[role] }))
}

export interface SettingMismatch extends Pick<NeededSetting, 'name' | 'value' | 'expected'> {
  readonly topic: string
  /** Null where Kafka does not report it. */
  readonly received: string | null
}

/**
 * Checks the settings of all topics of the plan, no matter who created them. Rejects with one `topic_mismatch` that lists
 * every wrong setting and the commands that fix it. `brokers`: 'host:port', for these commands.
 */
export async function requireTopicSettings(
  broker: BrokerAdmin,
  plan: Pick<Plan, 'topics'>,
  brokers: readonly string[],
): Promise<void> {
  const settings = await readTopicSettings(
    broker,
    plan.topics.map(({ topic }) => topic),
  )
  const mismatches = plan.topics.flatMap((topic) => settingMismatches(topic, settings.get(topic.topic)))
  if (mismatches.length === 0) return
  throw new PipelineError('topic_mismatch', mismatchText(mismatches, brokers), {
    details: {
      settings: mismatches.map(({ topic, name, expected, received }) => ({ topic, name, expected, received })),
    },
  })
}

export const settingNames = ['message.timestamp.type', 'retention.ms', 'cleanup.policy', 'max.message.bytes'] as const

/** Of topics that exist. */
export function readTopicSettings(
  broker: BrokerAdmin,
  topics: readonly string[],
): Promise<Map<string, ReadonlyMap<string, string>>> {
  return broker.topicSettings(topics, settingNames)
}

/** A setting that Kafka does not report counts as a mismatch. */
export function settingMismatches(
  topic: TopicPlan,
  settings: ReadonlyMap<string, string> | undefined,
): SettingMismatch[] {
  return neededSettings(topic)
    .map((one) => ({ ...one, topic: topic.topic, received: settings?.get(one.name) ?? null }))
    .filter(({ received, isMetBy }) => received === null || !isMetBy(received))
}

/** `retention.ms expected -1 (forever), received 604800000 (7d)` */
export function mismatchSentence({ name, expected, received }: SettingMismatch): string {
  const shown = name === 'retention.ms' ? shownRetention(received) : received
  return `${name} expected ${expected}, received ${shown ?? 'nothing'}`
}

/** The command that fixes all settings of one topic. */
export function fixCommand(mismatches: readonly SettingMismatch[], brokers: readonly string[]): string {
  const changes = mismatches.map(({ name, value }) => `${name}=${value}`)
  return (
    `kafka-configs --bootstrap-server ${brokers.join(',')} --alter --entity-type topics ` +
    `--entity-name ${mismatches[0]!.topic} --add-config ${changes.join(',')}`
  )
}

function mismatchText(mismatches: readonly SettingMismatch[], brokers: readonly string[]): string {
  const commands = [...new Set(mismatches.map(({ topic }) => topic))].map((topic) =>
    fixCommand(
      mismatches.filter((one) => one.topic === topic),
      brokers,
    ),
  )
  return [
    'Topics of this pipeline have settings with which its results could not be trusted:',
    ...mismatches.map((one) => `  ${one.topic}: ${mismatchSentence(one)}`),
    'Fix them with these commands (records already there keep their times; lost ones do not come back):',
    ...commands.map((command) => `  ${command}`),
  ].join('\n')
}

function shownRetention<T extends string | null>(ms: T): T | string {
  return ms !== null && Number(ms) > 0 ? `${ms} (${formatDuration(Number(ms))})` : ms
}
