/**
 * What Redis holds of each task against what it should be: its identity, and its position compared with Kafka's committed offsets. So
 * that what would prevent a start is known in advance; no ownership is taken. Called by `doctor`.
 */
import { stateDifference } from '../../feature-store/state-difference.ts'
import type { StateIdentity, TaskInspection } from '../../feature-store/store.ts'
import { decodePosition, isAhead, type TaskPosition } from '../../processors/position.ts'
import { settleMs, settleTriesMax } from '../../processors/recovery/check-log.ts'
import { committedPosition } from '../../processors/recovery/committed-position.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import { readHashKey } from '../../runtime/hash-key-log.ts'
import { hashKeyName } from '../../schemas/kernel/keyed-hash.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import { sharedNames } from '../context.ts'
import type { TopicReport } from '../topics/report.ts'
import { type Check, type Examination, fail, ok } from './check.ts'
import { forEachStage, type InputOffsets, taskInputs } from './stages.ts'
import type { Subject } from './subject.ts'

export function stateExaminations(subject: Subject): Examination[] {
  return [
    {
      name: 'state',
      examine: () =>
        forEachStage(subject, 'state', async (stage, name) => {
          const partitions = (await taskInputs(subject, stage)).length
          const { clusterId } = await subject.kafka.needed()
          const { stateFingerprint, stateShape: shape } = await subject.plan.needed()
          const key = await hashKeyIn(subject)
          const found = await inspectTasks(subject, stage, partitions)
          return identityCheck(
            name,
            found,
            { clusterId, stateFingerprint, partitions, ...key, shape },
            subject.definition,
          )
        }),
    },
    {
      name: 'position',
      examine: () => forEachStage(subject, 'position', (stage, name) => stagePosition(subject, stage, name)),
    },
  ]
}

export interface StageState {
  readonly entity: string
  /** Partitions that hold state. */
  readonly held: number
  /** Why the stage would not open what is held, to follow "since"; null: it would. */
  readonly difference: string | null
}

/** For `plan`: where input topics do not exist yet, nothing is held. */
export async function inspectStages(subject: Subject, topics: readonly TopicReport[]): Promise<StageState[]> {
  const plan = await subject.plan.open()
  const { clusterId } = await subject.kafka.open()
  const key = await hashKeyIn(subject)
  const states: StageState[] = []
  for (const stage of plan.entityStages) {
    const inputs = stageInputs(plan, stage).map(({ topic }) => topics.find((one) => one.topic === topic))
    const partitions = inputs.at(-1)?.partitions.found ?? 0
    const found = await inspectTasks(subject, stage, partitions)
    const { stateFingerprint, stateShape: shape } = plan
    const expected = { clusterId, stateFingerprint, partitions, ...key, shape }
    const held = found.filter(({ position }) => position !== null).length
    states.push({ entity: stage.entity.name, held, difference: differenceOf(found, expected) })
  }
  return states
}

/** Nothing where no process has written one. */
async function hashKeyIn({ kafka, plan }: Subject): Promise<Pick<StateIdentity, 'hashKey'>> {
  const key = await readHashKey((await kafka.needed()).broker.data, (await plan.needed()).schemas.topic)
  return key === null ? {} : { hashKey: hashKeyName(key) }
}

function differenceOf(found: readonly TaskInspection[], expected: StateIdentity): string | null {
  for (const { identity } of found) {
    if (identity === null) continue
    if (identity === 'clearing') return 'a rebuild of it was started and not finished'
    const difference = stateDifference(identity, expected)
    if (difference !== null) return difference
  }
  return null
}

async function inspectTasks({ redis }: Subject, { entity }: StagePlan, partitions: number): Promise<TaskInspection[]> {
  const { store } = await redis.needed()
  return Promise.all(Array.from({ length: partitions }, (_, partition) => store.inspect(entity.name, partition)))
}

/** Reports the first difference only: the remedies are the same for all. */
export function identityCheck(
  name: string,
  found: readonly TaskInspection[],
  expected: StateIdentity,
  definition: string,
): Check {
  const rebuild = `millrace run ${definition} --rebuild`
  const clearing = found.flatMap(({ identity }, partition) => (identity === 'clearing' ? [partition] : []))
  if (clearing.length > 0) {
    return fail(
      name,
      `a rebuild of partitions ${clearing.join(', ')} was started and not finished.`,
      `Unless one is running, type:  ${rebuild}`,
    )
  }
  for (const { identity } of found) {
    if (identity === null || identity === 'clearing') continue
    if (identity.clusterId !== expected.clusterId) {
      return fail(
        name,
        `it belongs to Kafka cluster ${identity.clusterId}, this one is ${expected.clusterId}: the offsets of one mean ` +
          'nothing in the other.',
        `Set KAFKA_BROKERS to the cluster it belongs to, or MILLRACE_NAMESPACE to a new name, or rebuild it: ${rebuild}`,
      )
    }
    if (identity.partitions !== expected.partitions) {
      return fail(
        name,
        `it was made with ${identity.partitions} partitions, the topics have ${expected.partitions}: keys are in other partitions now.`,
        `Set MILLRACE_NAMESPACE to a new name, or rebuild it from what Kafka still holds: ${rebuild}`,
      )
    }
    if (identity.layout !== undefined) {
      return fail(name, `${stateDifference(identity, expected)}.`, `Rebuild it: ${rebuild}`)
    }
    const isOtherKey = expected.hashKey !== undefined && identity.hashKey !== expected.hashKey
    if (identity.stateFingerprint === expected.stateFingerprint && isOtherKey) {
      return fail(
        name,
        `${stateDifference(identity, expected)}: the topic was deleted, or has lost its first records, so that no id would be recognised.`,
        `Set MILLRACE_NAMESPACE to a new name, or rebuild it: ${rebuild}`,
      )
    }
    if (identity.stateFingerprint !== expected.stateFingerprint) {
      return fail(
        name,
        `it was made by another definition (state ${identity.stateFingerprint}; this one has ` +
          `${expected.stateFingerprint}): ${stateDifference(identity, expected)}.`,
        `Start with the definition it belongs to, or set MILLRACE_NAMESPACE to a new name, or rebuild it: ${rebuild}`,
      )
    }
  }
  const held = found.filter(({ position }) => position !== null).length
  if (held === 0) return ok(name, 'Redis holds nothing yet.')
  return ok(name, `${held} of ${found.length} partitions hold state of this definition, cluster and partition count.`)
}

type Relation = 'new' | 'equal' | 'behind' | 'empty' | 'ahead' | 'truncated'

async function stagePosition(subject: Subject, stage: StagePlan, name: string): Promise<Check> {
  const inputsByTask = await taskInputs(subject, stage)
  // Redis first: a pipeline at work moves on between the two answers, and Redis never is ahead.
  const found = await inspectTasks(subject, stage, inputsByTask.length)
  const relations = await Promise.all(
    found.map(async ({ position }, partition): Promise<Relation> => {
      const stored = position === null ? null : decodePosition(position, `store, ${stage.entity.name} ${partition}`)
      const inputs = inputsByTask[partition]!
      // A commit is confirmed a moment before every process can read it.
      for (let tries = 1; ; tries++) {
        const relation = relationOf(stored, await committedOf(subject, stage, partition, inputs), inputs)
        if (relation !== 'ahead' || tries === settleTriesMax) return relation
        await subject.clock.sleep(settleMs)
      }
    }),
  )
  return positionCheck(name, relations, subject.definition)
}

async function committedOf(
  subject: Subject,
  { entity }: StagePlan,
  partition: number,
  inputs: readonly InputOffsets[],
) {
  const { broker } = await subject.kafka.needed()
  const { group } = sharedNames(subject.config, await subject.plan.needed())
  return committedPosition(entity.name, partition, await broker.groups.committedOffsets(group, inputs))
}

export function relationOf(
  stored: TaskPosition | null,
  committed: TaskPosition | null,
  inputs: readonly Pick<InputOffsets, 'start'>[],
): Relation {
  if (stored === null) return committed === null ? 'new' : 'empty'
  if (committed === null || isAhead(stored, committed)) return 'ahead'
  if (!isAhead(committed, stored)) return 'equal'
  return stored.inputs.some(({ resumeOffset }, i) => resumeOffset < inputs[i]!.start) ? 'truncated' : 'behind'
}

export function positionCheck(name: string, relations: readonly Relation[], definition: string): Check {
  const partitions = (relation: Relation) =>
    relations.flatMap((one, partition) => (one === relation ? [partition] : []))
  const rebuild = `Rebuild the state: millrace run ${definition} --rebuild`
  const [ahead, truncated] = [partitions('ahead'), partitions('truncated')]
  if (ahead.length > 0) {
    return fail(
      name,
      `Redis is AHEAD of Kafka's committed offsets in partitions ${ahead.join(', ')}: Kafka lost data or its offsets expired.`,
      rebuild,
    )
  }
  if (truncated.length > 0) {
    return fail(
      name,
      `Redis is behind Kafka's committed offsets in partitions ${truncated.join(', ')}, and retention has removed what is between.`,
      rebuild,
    )
  }
  const findings = [
    ['equal', "equal to Kafka's committed offsets"],
    ['behind', 'behind them (caught up from Kafka at the next start, without publishing)'],
    ['empty', 'empty in Redis (rebuilt from the start of the topics at the next start)'],
    ['new', 'not started'],
  ] as const
  const parts = findings.flatMap(([relation, words]) => {
    const named = partitions(relation)
    return named.length === 0 ? [] : [`partitions ${named.join(', ')} ${words}`]
  })
  return ok(name, `${parts.join('; ')}.`)
}
