/**
 * Takes over a task: claims its part of the store, compares the positions of the store and of Kafka, and decides what has to be restored.
 * Called for every task after each join of the group, before its first batch.
 *
 * Exactly once, the store is never ahead of Kafka, because a batch is applied after its transaction. It may be behind (a crash between the
 * two) or empty (lost, or never filled): the difference is then restored, that is, folded without publishing. A store that is ahead means
 * that Kafka lost something. At least once, the store may be ahead of the committed offsets, and the task continues from the store.
 */
import type { FeatureStore, StateIdentity } from '../../feature-store/store.ts'
import type { BrokerData, Worker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { HashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { OpenTask } from '../batch/active-batch.ts'
import { createEntityCache } from '../batch/entity-cache.ts'
import { createEventsByEntity } from '../batch/events-by-entity.ts'
import { createFold } from '../batch/fold-event.ts'
import { createOvertaking } from '../batch/overtaken.ts'
import { createTask, type TaskLimits } from '../batch/task.ts'
import { decodePosition, isAhead, type TaskPosition } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
import { initialFrontier } from '../watermarks/frontier.ts'
import type { SourceFrontiers } from '../watermarks/source-frontiers.ts'
import {
  type CheckedLog,
  type LogBounds,
  requireEnds,
  requireStarts,
  type ShortLog,
  settleMs,
  settleTriesMax,
  shortLog,
} from './check-log.ts'
import { committedPosition } from './committed-position.ts'

export interface OpenTaskOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly partition: number
  readonly partitions: number
  readonly tasksBefore: number
  /** Of the stage's repartition topic; null for the first stage. */
  readonly sourceFrontiers: SourceFrontiers | null
  readonly broker: BrokerData
  readonly worker: Worker
  readonly store: FeatureStore
  readonly identity: StateIdentity
  /** Of the ids in facts. */
  readonly hashKey: HashKey
  readonly limits: TaskLimits & { readonly cacheRowsMax: number; readonly entityBytesMax: number }
  readonly clock: Clock
  readonly log: Log
  /** Of the stage's inputs, in their order. */
  readonly bounds: readonly LogBounds[]
  /** Clear the stored state and restore it from Kafka. */
  readonly isRebuild: boolean
}

export async function openTask(options: OpenTaskOptions): Promise<OpenTask> {
  const { plan, stage, partition, partitions, tasksBefore, sourceFrontiers, store, identity, worker, limits, clock } =
    options
  const entity = stage.entity.name
  // The order matters: positions are read once the owner token is written, after which no other process can apply a batch.
  const taskStore = await store.claim(entity, partition, worker.owner, identity, { rebuild: options.isRebuild })
  const stored =
    taskStore.position === null ? null : decodePosition(taskStore.position, `store, ${entity} ${partition}`)
  const committed = await checkedCommitted(options)
  const start = stored ?? startOfLog(options.bounds)
  const target = committed ?? start
  if (plan.delivery === 'exactly-once') requireNotAhead(options, stored, committed)
  else if (stored) await requireEnds(options, stored)
  if (stored) requireStarts(options, stored)
  const restoreTo = isAhead(target, start) ? target : null
  if (!stored && restoreTo) await requireWindows(options, restoreTo)
  const openedAtMs = clock.nowMs()
  const place = { plan, stage, partition, partitions, tasksBefore, sourceFrontiers }
  return {
    task: createTask({ ...place, limits, start, restoreTo, openedAtMs }),
    store: taskStore,
    cache: createEntityCache(stage.entity.layout, { rowsMax: limits.cacheRowsMax }),
    byEntity: createEventsByEntity(),
    fold: createFold(plan, stage, options.hashKey, limits.entityBytesMax),
    overtaking: createOvertaking(plan, stage, start.frontier.time),
    position: taskStore.position,
    newestTime: start.frontier.time,
    positionTakenMs: openedAtMs,
  }
}

/** Exactly once, a batch is applied after its offsets are committed. Throws `state_ahead` where the store has more than Kafka. */
function requireNotAhead(
  { stage, partition }: OpenTaskOptions,
  stored: TaskPosition | null,
  committed: TaskPosition | null,
): void {
  if (!stored) return
  const state = `The stored state of ${stage.entity.name} ${partition} is at offsets ${offsetsOf(stored)}`
  if (!committed) {
    throw new PipelineError(
      'state_ahead',
      `${state}, but Kafka has no committed offsets: they expired, or the group or the topics were deleted. Start with --rebuild ` +
        'to restore the state up to there.',
    )
  }
  if (!isAhead(stored, committed)) return
  throw new PipelineError(
    'state_ahead',
    `${state}, and Kafka's committed offsets are at ${offsetsOf(committed)}: Kafka lost data, or another application committed in this ` +
      'group. Start with --rebuild.',
  )
}

/** The committed position, checked against the log; a rebuild has adjusted it before (`restore-offsets.ts`). */
async function checkedCommitted(options: OpenTaskOptions): Promise<TaskPosition | null> {
  const committed = await consistentPosition(options)
  if (committed) {
    await requireEnds(options, committed)
    requireUnread(options, committed)
  }
  return committed
}

/**
 * Offsets are committed together, but a coordinator that has just restarted may return a mix of old and new ones for a moment (Kafka 4.1,
 * killed and restarted under load), so offsets that do not belong together are requested again.
 */
async function consistentPosition({
  plan,
  stage,
  partition,
  worker,
  clock,
}: OpenTaskOptions): Promise<TaskPosition | null> {
  const inputs = stageInputs(plan, stage).map(({ topic }) => ({ topic, partition }))
  for (let tries = 1; ; tries++) {
    try {
      return committedPosition(stage.entity.name, partition, await worker.committed(inputs))
    } catch (error) {
      const canRetry = error instanceof PipelineError && error.code === 'state_foreign' && tries < settleTriesMax
      if (!canRetry) throw error
    }
    await clock.sleep(settleMs)
  }
}

/** Records that are still to be read must be in the log; a rebuild warns and continues with what is left. */
function requireUnread(options: OpenTaskOptions, committed: TaskPosition): void {
  try {
    requireStarts(options, committed)
  } catch (error) {
    if (!options.isRebuild || !(error instanceof PipelineError)) throw error
    options.log.warn({ code: error.code }, error.message)
  }
}

/** Throws `log_truncated` where windows would be incomplete; a rebuild warns and continues with what is left. */
async function requireWindows(options: OpenTaskOptions, restoreTo: TaskPosition): Promise<void> {
  const short = await shortLog(options, restoreTo)
  if (!short) return
  const sentence = describeShortLog(options, short)
  if (short.isLateOnly) options.log.warn({}, `${sentence} Only windows of late events are affected.`)
  else if (options.isRebuild) options.log.warn({}, sentence)
  else {
    throw new PipelineError('log_truncated', `${sentence} Start with --rebuild to continue with what is left.`, {
      details: { topic: short.topic, partition: options.partition },
    })
  }
}

function describeShortLog({ stage, partition }: CheckedLog, { topic, removedUntil, needed }: ShortLog): string {
  const removed = Number.isFinite(removedUntil) ? `up to ${instant(removedUntil)}` : 'of any time'
  return (
    `The store is empty for ${stage.entity.name} ${partition}, and ${topic}, partition ${partition}, no longer has all events of its ` +
    `windows: they reach back to ${instant(needed)}, and events ${removed} may have been removed.`
  )
}

function instant(ms: number): string {
  return new Date(ms).toISOString()
}

function offsetsOf(position: TaskPosition): string {
  return position.inputs.map((input) => input.nextOffset).join(', ')
}

/** The start of every input's log: everything that can be restored. */
function startOfLog(bounds: readonly LogBounds[]): TaskPosition {
  return {
    frontier: initialFrontier,
    retentionWatermark: Number.NEGATIVE_INFINITY,
    inputs: bounds.map(({ start }) => ({
      resumeOffset: start,
      nextOffset: start,
      maxEventTime: Number.NEGATIVE_INFINITY,
    })),
  }
}
