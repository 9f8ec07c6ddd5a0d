/**
 * Takes a task over: claims its part of the store, finds where the store and Kafka stand, and says what must be folded again. Called for
 * every task after each join of the group, before its first batch.
 *
 * Exactly once, the store is never ahead of Kafka, since a batch is applied after its transaction. It may be behind (a crash between the
 * two), or empty (lost, or never filled): then what lies between is folded again without publishing. Ahead means that Kafka lost something.
 * At least once, it may be ahead of the committed offsets, and the task goes on from where the store stands.
 */
import type { FeatureStore, StateIdentity } from '../../feature-store/store.ts'
import type { Broker, Worker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { OpenTask } from '../batch/active-batch.ts'
import { createEntityCache } from '../batch/entity-cache.ts'
import { createFold } from '../batch/fold-event.ts'
import { createTask, type TaskLimits } from '../batch/task.ts'
import { decodePosition, initialFrontier, isAhead, type TaskPosition } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
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
  readonly broker: Broker
  readonly worker: Worker
  readonly store: FeatureStore
  readonly identity: StateIdentity
  readonly limits: TaskLimits & { readonly cacheRowsMax: number }
  readonly clock: Clock
  readonly log: Log
  /** Of the stage's inputs, in their order. */
  readonly bounds: readonly LogBounds[]
  /** Throw the stored state away and fold it anew from what Kafka has. */
  readonly isRebuild: boolean
}

export async function openTask(options: OpenTaskOptions): Promise<OpenTask> {
  const { plan, stage, partition, partitions, tasksBefore, sourceFrontiers, store, identity, worker, limits, clock } =
    options
  const entity = stage.entity.name
  // The order matters: once the token is written nobody else applies, and only then are the positions read.
  const taskStore = await store.claim(entity, partition, worker.owner, identity, { rebuild: options.isRebuild })
  const stored =
    taskStore.position === null ? null : decodePosition(taskStore.position, `store, ${entity} ${partition}`)
  const committed = await fittingCommitted(options)
  const start = stored ?? beginning(options.bounds)
  const target = committed ?? start
  // Exactly once, nothing is applied before its offsets are committed, so a filled store without any is ahead, too.
  const isExactlyOnce = plan.delivery === 'exactly-once'
  if (isExactlyOnce && stored && !committed) {
    throw new PipelineError(
      'state_ahead',
      `The stored state of ${entity} ${partition} stands at offsets ${offsetsOf(stored)}, Kafka's committed offsets at none: its ` +
        'offsets expired, or the group or the topics were deleted. Start with --rebuild: the state is folded anew up to there.',
    )
  }
  if (isExactlyOnce && stored && committed && isAhead(stored, committed)) {
    throw new PipelineError(
      'state_ahead',
      `The stored state of ${entity} ${partition} stands at offsets ${offsetsOf(stored)}, Kafka's committed offsets at ` +
        `${offsetsOf(committed)}: Kafka lost data, or something else committed in this group. Start with --rebuild.`,
    )
  }
  if (!isExactlyOnce && stored) await requireEnds(options, stored)
  if (stored) requireStarts(options, stored)
  const restoreTo = isAhead(target, start) ? target : null
  if (!stored && restoreTo) await requireReach(options, restoreTo)
  return {
    task: createTask({ plan, stage, partition, partitions, tasksBefore, limits, start, restoreTo, sourceFrontiers }),
    store: taskStore,
    cache: createEntityCache(stage.entity.layout, { rowsMax: limits.cacheRowsMax }),
    fold: createFold(plan, stage),
    position: taskStore.position,
    newestTime: start.frontier.time,
    positionTakenMs: clock.nowMs(),
  }
}

/** The committed position, which lies within the log; a rebuild has made it so (`restore-offsets.ts`). */
async function fittingCommitted(options: OpenTaskOptions): Promise<TaskPosition | null> {
  const committed = await settledPosition(options)
  if (committed) {
    await requireEnds(options, committed)
    requireUnread(options, committed)
  }
  return committed
}

/**
 * Offsets are committed together, but a coordinator that has just come back may tell for a moment some as they are and some as they were
 * (Kafka 4.1, killed and restarted under load): those that do not belong together are asked for again.
 */
async function settledPosition({
  plan,
  stage,
  partition,
  worker,
  clock,
}: OpenTaskOptions): Promise<TaskPosition | null> {
  const places = stageInputs(plan, stage).map(({ topic }) => ({ topic, partition }))
  for (let tries = 1; ; tries++) {
    try {
      return committedPosition(stage.entity.name, partition, await worker.committed(places))
    } catch (error) {
      const mayPass = error instanceof PipelineError && error.code === 'state_foreign' && tries < settleTriesMax
      if (!mayPass) throw error
    }
    await clock.sleep(settleMs)
  }
}

/** What nobody has read yet must be there; a rebuild goes on with what is left and says so. */
function requireUnread(options: OpenTaskOptions, committed: TaskPosition): void {
  try {
    requireStarts(options, committed)
  } catch (error) {
    if (!options.isRebuild || !(error instanceof PipelineError)) throw error
    options.log.warn({ code: error.code }, error.message)
  }
}

/** Throws `log_truncated` where windows would be short; a rebuild goes on with what is left and says so. */
async function requireReach(options: OpenTaskOptions, restoreTo: TaskPosition): Promise<void> {
  const short = await shortLog(options, restoreTo)
  if (!short) return
  const sentence = shortSentence(options, short)
  if (short.isLateOnly) options.log.warn({}, `${sentence} This concerns the windows of late events only.`)
  else if (options.isRebuild) options.log.warn({}, sentence)
  else {
    throw new PipelineError('log_truncated', `${sentence} Start with --rebuild to go on with what is left.`, {
      details: { topic: short.topic, partition: options.partition },
    })
  }
}

function shortSentence({ stage, partition }: CheckedLog, { topic, removedUntil, needed }: ShortLog): string {
  const removed = Number.isFinite(removedUntil) ? `up to ${instant(removedUntil)}` : 'of any time'
  return (
    `The store holds nothing of ${stage.entity.name} ${partition}, and ${topic}, partition ${partition}, no longer has all that its ` +
    `windows are folded from: they reach back to ${instant(needed)}, and events ${removed} may have been removed.`
  )
}

function instant(ms: number): string {
  return new Date(ms).toISOString()
}

function offsetsOf(position: TaskPosition): string {
  return position.inputs.map((input) => input.nextOffset).join(', ')
}

/** The start of every input's log: all that can be folded anew. */
function beginning(bounds: readonly LogBounds[]): TaskPosition {
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
