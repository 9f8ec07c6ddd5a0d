/**
 * Step 4 of a batch: each event's fact into the log of its entity, and its features out of it. Entities are folded one after the other, each
 * in canonical order, since none knows of another; what goes on, is rejected, or is a duplicate is told apart in canonical order of all.
 * Called by the batch loop; no event waits and none touches another task.
 */
import type { EntityLog } from '../../feature-store/entity-log.ts'
import { originOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ProcessingMetrics } from '../metrics.ts'
import { addOvertaken } from '../position.ts'
import type { ActiveBatch, OpenTask, OvertakenByBatch } from './active-batch.ts'
import { addFolded, clearFolded, type FoldedEvents } from './folded-events.ts'
import { rejectionOf } from './outputs.ts'
import { changedEvent, type StageEvent } from './stage-event.ts'

export interface FoldParts {
  readonly plan: Plan
  readonly metrics: Pick<ProcessingMetrics, 'duplicate'>
  readonly folded: FoldedEvents
}

/** What became of each event of a batch, by its number. */
interface Fates {
  /** Row of numbers of a scored event; −1 for others. */
  readonly rows: number[]
  readonly isSent: boolean[]
  /** Of rejected ones; the rest of those that are not sent are duplicates. */
  readonly problems: Map<number, Problem>
  /** Of those that go on with another place than their own. */
  readonly orders: Map<number, number>
}

export function fold(parts: FoldParts, active: ActiveBatch): void {
  const { plan, folded } = parts
  const { events } = active.batch
  const { first, next, firstWithout } = active.open.byEntity
  clearFolded(folded, events.length, active.open.fold.width)
  const rows = rowsOf(events, plan.scored.index)
  const fates: Fates = { rows, isSent: new Array(events.length).fill(false), problems: new Map(), orders: new Map() }
  // Late events are the first in order: what they overtake is counted before anything newer is folded.
  const late = countLate(events)
  for (let number = 0; number < late; number++) foldInto(parts, active, fates, number)
  for (let place = 0; place < first.length; place++) {
    for (let number = first[place]!; number >= 0; number = next[number]!)
      if (number >= late) foldInto(parts, active, fates, number)
  }
  for (let number = firstWithout; number >= 0; number = next[number]!)
    if (number >= late) foldInto(parts, active, fates, number)
  gather(parts, active, fates)
  keepOvertaken(active)
}

function rowsOf(events: readonly StageEvent[], scoredStream: number): number[] {
  const rows: number[] = []
  let count = 0
  for (let number = 0; number < events.length; number++)
    rows.push(events[number]!.stream === scoredStream ? count++ : -1)
  return rows
}

function countLate(events: readonly StageEvent[]): number {
  let count = 0
  while (count < events.length && events[count]!.isLate) count++
  return count
}

function foldInto({ plan, folded }: FoldParts, active: ActiveBatch, fates: Fates, number: number): void {
  const { open, batch, overtaken } = active
  const event = batch.events[number]!
  const log = logOf(open, number)
  const floorTime = floorTimeOf(open, event, batch.position.retentionWatermark)
  const { numbers, width } = folded
  const result = event.repeats
    ? open.fold.repeat(event, event.repeats)
    : open.fold.fold(event, log, floorTime, numbers, fates.rows[number]! * width)
  if (result.kind === 'rejected') fates.problems.set(number, result.problem!)
  if (result.kind !== 'folded') return
  fates.isSent[number] = true
  if (result.order !== event.order) fates.orders.set(number, result.order)
  if (!event.isLate) return
  if (event.stream === plan.scored.index) open.overtaking.observeScored(event.time)
  if (log && !batch.isRestore) countOvertaken(open, event, log, floorTime, overtaken)
}

function logOf({ byEntity: { placeOf, entities } }: OpenTask, number: number): EntityLog | null {
  const place = placeOf[number]!
  if (place < 0) return null
  const { log, key } = entities[place]!
  if (log === null) throw new Error(`entity ${key} was not loaded before its batch`)
  return log
}

/** Facts before it are dead. Events are in order: the newest so far is this one, or one of an earlier batch. */
function floorTimeOf({ newestTime, task }: OpenTask, { time }: StageEvent, retentionWatermark: number): number {
  return Math.min(Math.max(newestTime, time), retentionWatermark) - task.stage.entity.retentionMs
}

/** In canonical order, as it is sent. */
function gather({ plan, metrics, folded }: FoldParts, active: ActiveBatch, fates: Fates): void {
  const { open, batch, rejections } = active
  const { events, isRestore } = batch
  const { stage } = open.task
  const { rows, isSent, problems, orders } = fates
  for (let number = 0; number < events.length; number++) {
    const event = events[number]!
    if (isSent[number]!) {
      const order = orders.size === 0 ? undefined : orders.get(number)
      addFolded(folded, order === undefined ? event : sentOnAs(event, order), rows[number]!)
      if (event.stream === plan.scored.index) open.overtaking.observeScored(event.time)
      continue
    }
    const problem = problems.get(number)
    if (problem) rejections.push(rejectionOf(plan, stage, event, [problem]))
    else if (!isRestore) metrics.duplicate(stage.entity.name)
  }
  const newest = events.at(-1)
  if (newest && newest.time > open.newestTime) open.newestTime = newest.time
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

/** A requeued event goes on with the place of its fact. */
function sentOnAs(event: StageEvent, order: number): StageEvent {
  const { partition, offset } = originOfOrder(order)
  return changedEvent(event, { originPartition: partition, originOffset: offset })
}
