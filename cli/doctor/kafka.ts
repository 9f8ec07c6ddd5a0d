/** Kafka, the topics and the group: examined without joining the group or writing anything; called by `doctor`. */
import type { GroupView } from '../../runtime/broker.ts'
import { type CommandContext, sharedNames } from '../context.ts'
import type { TopicReport } from '../topics/report.ts'
import { unusedPartitions } from '../topics/unused-partitions.ts'
import { type Check, type Examination, fail, ok, warn } from './check.ts'
import type { Subject } from './subject.ts'

/** Less is a matter of when the answers came. */
const clockAheadMs = 2_000

/** `env`: as it was given, to tell what was set in vain. */
export function kafkaExaminations(subject: Subject, env: CommandContext['env']): Examination[] {
  const { kafka, config } = subject
  return [
    {
      name: 'kafka',
      async examine() {
        const { clusterId } = await kafka.open()
        return [
          ok(
            'kafka',
            `cluster ${clusterId} answers at ${config.kafkaBrokers.join(', ')} and supports every request that Millrace sends, ` +
              'transactions fenced by the group (KIP-447) among them.',
          ),
        ]
      },
    },
    { name: 'topics', examine: () => allTopicChecks(subject, env) },
    { name: 'kafka clock', examine: () => clockChecks(subject) },
    {
      name: 'group',
      async examine() {
        const { broker } = await kafka.needed()
        const { group } = sharedNames(config, await subject.plan.needed())
        return [groupCheck(group, await broker.groups.describe(group))]
      },
    },
  ]
}

async function allTopicChecks(subject: Subject, env: CommandContext['env']): Promise<Check[]> {
  const topics = await subject.topics.open()
  const { scored } = await subject.plan.needed()
  const found = topics.find(({ topic }) => topic === scored.topic)?.partitions.found ?? null
  const unused = unusedPartitions(env, { topic: scored.topic, found })
  const checks = topicChecks(topics)
  return unused === null
    ? checks
    : [...checks, warn('partitions', `${unused}.`, 'Leave it out, or set it to the count that there is.')]
}

export function topicChecks(topics: readonly TopicReport[]): Check[] {
  const problems = topics.flatMap(({ topic, problems }) => problems.map((problem) => ({ topic, ...problem })))
  if (problems.length === 0) return [ok('topics', `all ${topics.length} exist as the pipeline needs them.`)]
  return problems.map(({ topic, message, remedy }) => fail('topics', `${topic}: ${message}.`, `Type: ${remedy}`))
}

/**
 * A record that Kafka says was appended later than now shows that its clock is ahead. That it is behind cannot be detected without writing
 * a record, which the doctor does not do.
 */
async function clockChecks({ kafka, topics, clock }: Subject): Promise<Check[]> {
  const { broker } = await kafka.needed()
  const known = (await topics.needed()).flatMap(({ topic, offsets }) =>
    offsets.map(({ partition, end }) => ({ topic, partition, end })),
  )
  if (known.every(({ end }) => end === 0))
    return [ok('kafka clock', 'nothing was appended yet, so there is no record to compare with.')]
  const later = await broker.data.offsetsAt(known, clock.nowMs() + clockAheadMs)
  const isAhead = later.some(({ offset }, i) => offset < known[i]!.end)
  if (!isAhead)
    return [
      ok(
        'kafka clock',
        "by its records not ahead of this machine's; whether it is behind cannot be checked without writing one.",
      ),
    ]
  return [
    warn(
      'kafka clock',
      `there are records with an append time more than ${clockAheadMs / 1_000} s ahead of this machine's clock.`,
      'Synchronize both machines with NTP.',
    ),
  ]
}

export function groupCheck(name: string, { state, members }: GroupView): Check {
  if (state === 'empty') {
    return warn('group', `group ${name} has no members: no event is processed.`, 'Start a process: millrace run.')
  }
  const count = members.length === 1 ? '1 process' : `${members.length} processes`
  if (state === 'assigning') {
    return warn('group', `group ${name} is rebalancing among ${count}.`, 'Check again in a few seconds.')
  }
  const owners = members.map(({ worker, host, tasks }) => {
    const stages = [...new Set(tasks.map(({ stage }) => stage))].sort()
    const owned = stages.map((stage) => {
      const partitions = tasks.filter((task) => task.stage === stage).map(({ partition }) => partition)
      return `${stage} ${partitions.sort((a, b) => a - b).join(' ')}`
    })
    return `${worker} on ${host} has ${owned.join(', ') || 'no task (standby)'}`
  })
  return ok('group', `${count} in ${name}: ${owners.join('; ')}.`)
}
