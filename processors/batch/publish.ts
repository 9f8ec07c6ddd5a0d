/**
 * Step 6 of a batch: everything that it sends, with the offsets that it has consumed, in one Kafka transaction of the process. At least
 * once the records go outside a transaction, and the offsets are committed after step 7. Called by the batch loop.
 */
import type { Membership, OffsetToCommit, Worker } from '../../runtime/broker.ts'
import type { Outgoing } from '../../runtime/framed-records.ts'
import { addToOutbox, type Outbox, takeOut } from '../../runtime/outbox.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { encodePosition } from '../position.ts'
import type { BatchContext, ProgressExchange, ProgressUpdate } from '../watermarks/progress-exchange.ts'
import type { ActiveBatch } from './active-batch.ts'
import type { FoldedEvents } from './folded-events.ts'
import { deadLetterRecords, sendOn, sendPredictions } from './outputs.ts'

export interface Publication {
  readonly records: readonly Outgoing[]
  readonly offsets: readonly OffsetToCommit[]
}

/** The progress that is reported on one repartition topic with a transaction. */
export interface DueUpdate {
  readonly exchange: ProgressExchange
  readonly update: ProgressUpdate
  readonly context: BatchContext
}

export interface PublicationParts {
  readonly plan: Plan
  readonly partitionsOf: (topic: string) => number
  readonly outbox: Outbox
  readonly folded: FoldedEvents
}

export interface PublishParts {
  readonly plan: Pick<Plan, 'delivery'>
  readonly worker: Pick<Worker, 'transact' | 'publish'>
  readonly membership: Membership
}

/** The progress to report to the next stages with this transaction. */
export function dueUpdates(
  exchanges: readonly ProgressExchange[],
  batches: readonly ActiveBatch[],
  { answeredRound, nowMs, advancingEveryMs }: Omit<BatchContext, 'isSending'>,
): DueUpdate[] {
  const sending = new Set(batches.filter(sendsEvents).map(({ open }) => open.task.stage))
  return exchanges.flatMap((exchange) => {
    const context = { isSending: sending.has(exchange.stage), answeredRound, nowMs, advancingEveryMs }
    const update = exchange.dueUpdate(context)
    return update ? [{ exchange, update, context }] : []
  })
}

function sendsEvents({ batch }: ActiveBatch): boolean {
  return !batch.isRestore && batch.events.length > 0
}

/** What the batch that was folded last sends, into the outbox. Restored batches send nothing: all of it is in Kafka already. */
export function encode({ plan, partitionsOf, outbox, folded }: PublicationParts, active: ActiveBatch): void {
  const { open, batch, rejections } = active
  if (batch.isRestore) return
  const { stage, partition } = open.task
  const options = { plan, stage, partition, partitionsOf, outbox }
  if (stage.repartitionOut === null) {
    sendPredictions(options, folded, batch.stagePosition)
    active.predictions = { count: folded.scored, model: folded.modelVersion }
  } else sendOn(options, stage.repartitionOut, folded, batch.stagePosition)
  for (const record of deadLetterRecords(options, rejections)) addToOutbox(outbox, record)
}

/** Of batches that are encoded. */
export function publicationOf(
  parts: Pick<PublicationParts, 'outbox'>,
  batches: readonly ActiveBatch[],
  updates: readonly DueUpdate[],
): Publication {
  const { outbox } = parts
  const offsets: OffsetToCommit[] = []
  for (const active of batches) {
    if (active.batch.isRestore) continue
    for (const offset of offsetsOf(active)) offsets.push(offset)
  }
  // Behind the events: a watermark record stands for what lies before it.
  for (const { exchange, update, context } of updates) {
    for (const record of exchange.report(update, context)) addToOutbox(outbox, record)
  }
  return { records: takeOut(outbox), offsets }
}

function offsetsOf({ open, batch }: ActiveBatch): OffsetToCommit[] {
  const { inputs, partition } = open.task
  const metadata = encodePosition(batch.position)
  return batch.position.inputs.map(({ resumeOffset }, i) => {
    return { topic: inputs[i]!.topic, partition, offset: resumeOffset, metadata }
  })
}

/** Resolves when all of it is committed, or, at least once, acknowledged. */
export async function publish(
  { plan, worker, membership }: PublishParts,
  { records, offsets }: Publication,
): Promise<void> {
  if (plan.delivery === 'exactly-once') {
    if (records.length + offsets.length > 0) await worker.transact(records, offsets, membership)
  } else if (records.length > 0) await worker.publish(records)
}
