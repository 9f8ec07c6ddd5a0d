/**
 * Step 4 of a batch: each event's fact into the log of its entity, and its features out of it, in canonical order. What an event gives is
 * an output, a rejection, or nothing where it is a duplicate. Called by the batch loop; no event waits and none touches another task.
 */
import { originOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ProcessingMetrics } from '../metrics.ts'
import type { ActiveBatch, OpenTask } from './active-batch.ts'
import type { Folded } from './fold-event.ts'
import { type Output, rejectionOf } from './outputs.ts'
import type { StageEvent } from './stage-event.ts'

export interface FoldParts {
  readonly plan: Plan
  readonly metrics: Pick<ProcessingMetrics, 'duplicate'>
}

/** `batchNumber`: marks the logs that the batch touches, so that they stay in memory until it is applied. */
export function fold(parts: FoldParts, batches: readonly ActiveBatch[], batchNumber: number): void {
  for (const batch of batches) for (const event of batch.batch.events) foldInto(parts, batch, event, batchNumber)
}

function foldInto(
  { plan, metrics }: FoldParts,
  { open, batch, outputs, rejections }: ActiveBatch,
  event: StageEvent,
  batchNumber: number,
): void {
  const { stage } = open.task
  const folded = foldOne(open, event, batch.position.retentionWatermark, batchNumber)
  if (folded.kind === 'folded') outputs.push(outputOf(event, folded))
  else if (folded.kind === 'rejected') rejections.push(rejectionOf(plan, stage, event, [folded.problem]))
  else if (!batch.isRestore) metrics.duplicate(stage.entity.name)
}

function foldOne(open: OpenTask, event: StageEvent, retentionWatermark: number, batchNumber: number): Folded {
  if (event.time > open.newestTime) open.newestTime = event.time
  const log = event.key !== null && open.fold.needsLog(event.stream) ? open.cache.touch(event.key, batchNumber) : null
  if (event.isRepeat) return duplicate
  const oldestKept = Math.min(open.newestTime, retentionWatermark) - open.task.stage.entity.retentionMs
  return open.fold.fold(event, log, oldestKept)
}

const duplicate: Folded = { kind: 'duplicate' }

function outputOf(event: StageEvent, { slots, vector, order }: Extract<Folded, { kind: 'folded' }>): Output {
  return {
    event: order === event.order ? event : { ...event, origin: originOfOrder(order) },
    slots,
    vector,
    score: null,
    modelVersion: null,
    reasons: [],
    shadow: [],
  }
}
