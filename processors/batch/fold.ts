/**
 * Step 4 of a batch: each event's fact into the log of its entity, and its features out of it, in canonical order. What an event gives is
 * an output, a rejection, or nothing where it is a duplicate. Called by the batch loop; no event waits and none touches another task.
 */
import type { EntityLog } from '../../feature-store/entity-log.ts'
import { originOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ProcessingMetrics } from '../metrics.ts'
import { addOvertaken } from '../position.ts'
import type { ActiveBatch, OpenTask, OvertakenByBatch } from './active-batch.ts'
import type { Folded } from './fold-event.ts'
import { type Output, rejectionOf } from './outputs.ts'
import { changedEvent, type StageEvent } from './stage-event.ts'

export interface FoldParts {
  readonly plan: Plan
  readonly metrics: Pick<ProcessingMetrics, 'duplicate'>
}

/** `batchNumber`: marks the logs that the batch touches, so that they stay in memory until it is applied. */
export function fold(parts: FoldParts, active: ActiveBatch, batchNumber: number): void {
  for (const event of active.batch.events) foldInto(parts, active, event, batchNumber)
  keepOvertaken(active)
}

function foldInto(
  { plan, metrics }: FoldParts,
  { open, batch, outputs, rejections, overtaken }: ActiveBatch,
  event: StageEvent,
  batchNumber: number,
): void {
  const { stage } = open.task
  const log = logOf(open, event, batchNumber)
  const floorTime = floorTimeOf(open, event, batch.position.retentionWatermark)
  const folded = event.repeats ? open.fold.repeat(event, event.repeats) : open.fold.fold(event, log, floorTime)
  if (folded.kind === 'folded') {
    if (event.stream === plan.scored.index) open.overtaking.observeScored(event.time)
    if (event.isLate && log && !batch.isRestore) countOvertaken(open, event, log, floorTime, overtaken)
  }
  if (folded.kind === 'folded') outputs.push(outputOf(event, folded))
  else if (folded.kind === 'rejected') rejections.push(rejectionOf(plan, stage, event, [folded.problem]))
  else if (!batch.isRestore) metrics.duplicate(stage.entity.name)
}

function logOf({ cache, fold: { needsLog } }: OpenTask, { key, stream }: StageEvent, batchNumber: number) {
  return key !== null && needsLog(stream) ? cache.touch(key, batchNumber) : null
}

/** Facts before it are dead. */
function floorTimeOf(open: OpenTask, { time }: StageEvent, retentionWatermark: number): number {
  if (time > open.newestTime) open.newestTime = time
  return Math.min(open.newestTime, retentionWatermark) - open.task.stage.entity.retentionMs
}

/** What a restore folds again was counted when it was folded first. */
function countOvertaken(
  { overtaking }: OpenTask,
  event: StageEvent,
  log: EntityLog,
  floorTime: number,
  overtaken: OvertakenByBatch,
): void {
  const { predictions, isShort } = overtaking.count(event, event.key!, log, floorTime)
  if (predictions === 0 && !isShort) return
  overtaken.predictions += predictions
  if (isShort) overtaken.uncounted++
  overtaken.last = { stream: event.stream, time: event.time }
}

/** The batch's position was taken before it was folded. */
function keepOvertaken(active: ActiveBatch): void {
  const { predictions, uncounted } = active.overtaken
  if (predictions + uncounted === 0) return
  const counts = { overtaken: predictions, uncounted }
  active.open.task.noteOvertaken(counts)
  active.batch = { ...active.batch, position: addOvertaken(active.batch.position, counts) }
}

function outputOf(event: StageEvent, { slots, vector, order }: Extract<Folded, { kind: 'folded' }>): Output {
  return {
    event: order === event.order ? event : sentOnAs(event, order),
    slots,
    vector,
    score: null,
    modelVersion: null,
    reasons: [],
    shadow: [],
  }
}

/** A requeued event goes on with the place of its fact. */
function sentOnAs(event: StageEvent, order: number): StageEvent {
  const { partition, offset } = originOfOrder(order)
  return changedEvent(event, { originPartition: partition, originOffset: offset })
}
