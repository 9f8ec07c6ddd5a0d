/**
 * Opens all tasks that the consumer group has assigned to this process: the membership comes in, tasks that are ready for the batch loop go
 * out. Called by the worker after each join of the group.
 */
import type { FeatureStore } from '../../feature-store/store.ts'
import type { Broker, Membership, StageTopics, Worker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { type HashKey, hashKeyName } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { OpenTask } from '../batch/active-batch.ts'
import { stageInputs } from '../stage-inputs.ts'
import type { SourceFrontiers } from '../watermarks/source-frontiers.ts'
import type { LogBounds } from './check-log.ts'
import { type OpenTaskOptions, openTask } from './open-task.ts'
import { restoreOffsets } from './restore-offsets.ts'

export interface OpenTasksOptions {
  readonly plan: Plan
  readonly broker: Broker
  readonly worker: Worker
  readonly membership: Membership
  readonly store: FeatureStore
  readonly stages: readonly StageTopics[]
  /** Of each stage that reads a repartition topic. */
  readonly frontiersByStage: ReadonlyMap<StagePlan, SourceFrontiers>
  readonly limits: OpenTaskOptions['limits']
  readonly hashKey: HashKey
  readonly clock: Clock
  readonly log: Log
  /** Clear the stored state and restore it from Kafka. */
  readonly isRebuild: boolean
}

export async function openTasks(options: OpenTasksOptions): Promise<OpenTask[]> {
  const { broker, isRebuild } = options
  const [clusterId, bounds] = await Promise.all([broker.admin.clusterId(), inputBounds(options)])
  const tasks = options.membership.tasks.map((assigned) => taskOptions(options, assigned, clusterId, bounds))
  if (isRebuild) await restoreOffsets(tasks, options)
  return Promise.all(tasks.map(openTask))
}

function taskOptions(
  options: OpenTasksOptions,
  { stage: name, partition }: Membership['tasks'][number],
  clusterId: string,
  bounds: ReadonlyMap<string, LogBounds>,
): OpenTaskOptions {
  const { plan, broker, worker, store, limits, hashKey, clock, log, isRebuild } = options
  const stage = stageNamed(plan, name)
  const partitions = partitionsOfStage(options, stage)
  const stageBefore = plan.stages[stage.index - 1]
  return {
    plan,
    stage,
    partition,
    partitions,
    tasksBefore: stageBefore ? partitionsOfStage(options, stageBefore) : 0,
    sourceFrontiers: options.frontiersByStage.get(stage) ?? null,
    broker: broker.data,
    worker,
    store,
    identity: {
      clusterId,
      stateFingerprint: plan.stateFingerprint,
      partitions,
      hashKey: hashKeyName(hashKey),
      shape: plan.stateShape,
    },
    hashKey,
    limits,
    clock,
    log,
    bounds: stageInputs(plan, stage).map(({ topic }) => bounds.get(`${topic} ${partition}`)!),
    isRebuild,
  }
}

/** Log bounds of every input of the assigned tasks by topic and partition, in one request. */
async function inputBounds({ plan, broker, membership }: OpenTasksOptions): Promise<Map<string, LogBounds>> {
  const inputs = membership.tasks.flatMap(({ stage, partition }) =>
    stageInputs(plan, stageNamed(plan, stage)).map(({ topic }) => ({ topic, partition })),
  )
  const bounds = await broker.data.bounds(inputs)
  return new Map(bounds.map((bound) => [`${bound.topic} ${bound.partition}`, bound]))
}

function stageNamed({ stages }: Plan, name: string): StagePlan {
  return stages.find(({ entity }) => entity.name === name)!
}

function partitionsOfStage({ stages }: OpenTasksOptions, { entity }: StagePlan): number {
  return stages.find(({ stage }) => stage === entity.name)!.partitions
}
