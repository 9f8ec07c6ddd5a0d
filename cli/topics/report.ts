/**
 * The plan in, what Kafka has of its topics out: what is missing or wrong, and the command that fixes it. Called by
 * `topics`, which prints and creates, and by `doctor`.
 */
import { stageInputs } from '../../processors/stage-inputs.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Plan, TopicPlan } from '../../schemas/plan/plan.ts'
import { fixCommand, mismatchSentence, readTopicSettings, settingMismatches } from './requirements.ts'

export interface TopicReport {
  readonly topic: string
  readonly role: TopicPlan['role']
  readonly exists: boolean
  /** `found` is null for a topic that does not exist, like everything that Kafka alone knows. */
  readonly partitions: { readonly found: number | null; readonly needed: number }
  /** -1: forever. */
  readonly retentionMs: { readonly found: number | null; readonly needed: number }
  readonly timestampType: string | null
  readonly cleanupPolicy: string | null
  /** The last stable offset is the end. Transaction markers take offsets, too, so these count somewhat more than the records. */
  readonly offsets: ReadonlyArray<{ readonly partition: number; readonly start: number; readonly end: number }>
  /** Everything that is wrong; empty: as the pipeline needs it. */
  readonly problems: readonly TopicProblem[]
}

export interface TopicProblem {
  readonly message: string
  readonly remedy: string
  /** What `topics --alter` does about it; null where it would not be safe, or is `--create`. */
  readonly change: TopicChange | null
}

/** Of an existing topic: the settings to set, or the partitions to have while it is empty. */
export interface TopicChange {
  readonly config?: Readonly<Record<string, string>>
  readonly partitions?: number
}

export interface TopicReportOptions {
  readonly plan: Plan
  readonly broker: Pick<Broker, 'data' | 'admin'>
  /** Of topics that are yet to be created, where no other topic determines the number. */
  readonly partitions: number
  /** 'host:port', for the commands. */
  readonly brokers: readonly string[]
  /** Path of the definition, for the commands. */
  readonly definition: string
}

export async function reportTopics(options: TopicReportOptions): Promise<TopicReport[]> {
  const { plan, broker } = options
  const counts = await broker.data.partitionCounts(plan.topics.map(({ topic }) => topic))
  const existing = plan.topics.filter(({ topic }) => counts.get(topic)).map(({ topic }) => topic)
  const settings = existing.length === 0 ? new Map() : await readTopicSettings(broker.admin, existing)
  const bounds = await broker.data.bounds(
    existing.flatMap((topic) => Array.from({ length: counts.get(topic)! }, (_, partition) => ({ topic, partition }))),
  )
  const needs = neededPartitions(plan, counts, options.partitions)
  return plan.topics.map((topic): TopicReport => {
    const found = counts.get(topic.topic) ?? null
    const has = settings.get(topic.topic) as ReadonlyMap<string, string> | undefined
    const retention = has?.get('retention.ms')
    const offsets = bounds
      .filter((bound) => bound.topic === topic.topic)
      .map(({ partition, start, end }) => ({ partition, start, end }))
    const need = needs.get(topic.topic)!
    return {
      topic: topic.topic,
      role: topic.role,
      exists: found !== null,
      partitions: { found, needed: need.count },
      retentionMs: { found: retention === undefined ? null : Number(retention), needed: topic.retentionMs ?? -1 },
      timestampType: has?.get('message.timestamp.type') ?? null,
      cleanupPolicy: has?.get('cleanup.policy') ?? null,
      offsets,
      problems: found === null ? [missing(options.definition)] : [...countProblem(), ...settingProblem()],
    }

    function countProblem(): TopicProblem[] {
      if (found === need.count) return []
      const isEmpty = offsets.every(({ end }) => end === 0)
      // Later records of a key would be sent to another partition than its earlier ones.
      const canGrow = isEmpty && found! < need.count
      return [
        {
          message: `it has ${found} partitions, expected ${need.count}${need.reason}`,
          remedy: canGrow
            ? `kafka-topics --bootstrap-server ${options.brokers.join(',')} --alter --topic ${topic.topic} --partitions ${need.count}`
            : `delete it and type millrace topics ${options.definition} --create, or set MILLRACE_NAMESPACE to a new name`,
          change: canGrow ? { partitions: need.count } : null,
        },
      ]
    }

    function settingProblem(): TopicProblem[] {
      const mismatches = settingMismatches(topic, has)
      if (mismatches.length === 0) return []
      return [
        {
          message: mismatches.map(mismatchSentence).join('; '),
          remedy: fixCommand(mismatches, options.brokers),
          change: { config: Object.fromEntries(mismatches.map(({ name, value }) => [name, value])) },
        },
      ]
    }
  })
}

function missing(definition: string): TopicProblem {
  return { message: 'it does not exist', remedy: `millrace topics ${definition} --create`, change: null }
}

/** Inputs of a stage have the same count, or partition p of one would not meet partition p of the other; outputs may have any. */
function neededPartitions(
  plan: Plan,
  counts: ReadonlyMap<string, number | null>,
  partitions: number,
): Map<string, { readonly count: number; readonly reason: string }> {
  const usual = counts.get(plan.scored.topic) ?? partitions
  const needs = new Map(
    plan.topics.map((topic) => {
      const count = topic.partitions ?? counts.get(topic.topic) ?? usual
      return [topic.topic, { count, reason: '' }]
    }),
  )
  for (const stage of plan.stages) {
    const inputs = stageInputs(plan, stage).map(({ topic }) => topic)
    const first = inputs.find((topic) => counts.get(topic))
    if (first === undefined) continue
    const count = counts.get(first)!
    const reason = ` as ${first} has, since the tasks of ${stage.entity.name} read both, partition by partition`
    for (const topic of inputs) if (topic !== first) needs.set(topic, { count, reason })
  }
  return needs
}
