/**
 * Takes a task over: claims its part of the store, finds where the store and Kafka stand, and says what must be folded again. Called for
 * every task after each join of the group, before its first batch.
 *
 * The store is never ahead of Kafka, since a batch is applied after its transaction. It may be behind (a crash between the two), or empty
 * (lost, or never filled): then what lies between is folded again without publishing. Ahead means that Kafka lost something.
 */
import type { FeatureStore, StateIdentity } from '../feature-store/store.ts'
import type { Broker, Worker } from '../runtime/broker.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { Plan, StagePlan } from '../schemas/plan.ts'
import type { OpenTask } from './batch-loop.ts'
import { committedPosition } from './committed-position.ts'
import { createEntityCache } from './entity-cache.ts'
import { createFold } from './fold.ts'
import type { Hearing } from './hearing.ts'
import { decodePosition, isAhead, nothingPassed, type TaskPosition } from './position.ts'
import { stageInputs } from './stage-inputs.ts'
import { createTask, type TaskLimits } from './task.ts'

export interface OpenTaskOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly partition: number
  readonly partitions: number
  readonly tasksBefore: number
  /** Of the stage's repartition topic; null for the first stage. */
  readonly hearing: Hearing | null
  readonly broker: Broker
  readonly worker: Worker
  readonly store: FeatureStore
  readonly identity: StateIdentity
  readonly limits: TaskLimits & { readonly cacheRowsMax: number }
  readonly nowMs: number
  /** Throw the stored state away and fold it anew from what Kafka has. */
  readonly isRebuild: boolean
}

export async function openTask(options: OpenTaskOptions): Promise<OpenTask> {
  const { plan, stage, partition, partitions, tasksBefore, hearing, store, identity, worker, limits, nowMs } = options
  const entity = stage.entity.name
  // The order matters: once the token is written nobody else applies, and only then are the positions read.
  const taskStore = await store.claim(entity, partition, worker.owner, identity, { rebuild: options.isRebuild })
  const stored =
    taskStore.position === null ? null : decodePosition(taskStore.position, `store, ${entity} ${partition}`)
  const offsets = await worker.committed(inputTopics(options).map((topic) => ({ topic, partition })))
  const committed = committedPosition(entity, partition, offsets)
  const start = stored ?? (await beginning(options))
  const target = committed ?? start
  // Nothing is applied before its offsets are committed, so a filled store without any is ahead, too.
  if (stored && (!committed || isAhead(stored, committed))) {
    throw new PipelineError(
      'state_ahead',
      `The stored state of ${entity} ${partition} stands at offsets ${offsetsOf(start)}, Kafka's committed offsets at ` +
        `${committed ? offsetsOf(committed) : 'none'}: Kafka lost data or its offsets expired. Start with --rebuild.`,
    )
  }
  const refoldTo = isAhead(target, start) ? target : null
  return {
    task: createTask({ plan, stage, partition, partitions, tasksBefore, limits, start, refoldTo, hearing }),
    store: taskStore,
    cache: createEntityCache(stage.entity.layout, { rowsMax: limits.cacheRowsMax }),
    fold: createFold(plan, stage),
    position: taskStore.position,
    newestTime: start.passed.time,
    positionTakenMs: nowMs,
  }
}

function offsetsOf(position: TaskPosition): string {
  return position.inputs.map((input) => input.next).join(', ')
}

function inputTopics({ plan, stage }: OpenTaskOptions): string[] {
  return stageInputs(plan, stage).map(({ topic }) => topic)
}

/** The start of every input's log: all that can be folded anew. */
async function beginning(options: OpenTaskOptions): Promise<TaskPosition> {
  const { broker, partition } = options
  const topics = inputTopics(options)
  const bounds = await broker.bounds(topics.map((topic) => ({ topic, partition })))
  const startOf = new Map(bounds.map(({ topic, start }) => [topic, start]))
  return {
    passed: nothingPassed,
    inputs: topics.map((topic) => ({
      low: startOf.get(topic)!,
      next: startOf.get(topic)!,
      clock: Number.NEGATIVE_INFINITY,
    })),
  }
}
