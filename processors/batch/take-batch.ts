/**
 * What a task gives to be folded: the events that every source has passed, in canonical order, with the position that the task has once
 * they are done. What waits for a source without progress is released early after a while. Called by `order.ts` through `Task.take`.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { noDisorder, type TaskPosition } from '../position.ts'
import type { ReleaseBounds } from '../watermarks/alignment.ts'
import { initialFrontier } from '../watermarks/frontier.ts'
import { readUnread } from './decode.ts'
import { hasDroppedUpTo, planRefill } from './overflow.ts'
import type { StageEvent } from './stage-event.ts'
import type { TakeBounds, TaskBatch } from './task-contract.ts'
import { advanceRetentionWatermark, positionOf, slowestEventTime } from './task-position.ts'
import { finishRestoredInputs, isRereading, type TaskState } from './task-state.ts'

/** A task's next batch; null where nothing may be released and nothing was rejected. See `Task.take`. */
export function takeBatch(state: TaskState, nowMs: number, bounds: TakeBounds): TaskBatch | null {
  if (isRereading(state)) return null
  const slowest = slowestEventTime(state)
  const events = releaseEvents(state, nowMs, bounds)
  advanceRetentionWatermark(state, slowest)
  const batch = state.isRestoring ? takeRestored(state, events, nowMs) : takeLive(state, events)
  readUnread(state)
  planRefill(state)
  return batch
}

/** The position where it has moved without a batch since the last call: watermarks were read. */
export function takeMovedPosition(state: TaskState): TaskBatch | null {
  if (!state.hasMoved || state.isRestoring || isRereading(state)) return null
  advanceRetentionWatermark(state, slowestEventTime(state))
  return batchOf(state, [], false)
}

function releaseEvents(state: TaskState, nowMs: number, bounds: TakeBounds): StageEvent[] {
  const { alignment } = state
  const release = releaseBounds(state, nowMs, bounds.maxReleaseTime)
  const beforeRound = state.isRestoring ? Number.POSITIVE_INFINITY : bounds.beforeRound
  const events: StageEvent[] = []
  for (let event = alignment.peek(release); event; event = alignment.peek(release)) {
    const isLate = alignment.isLate(event)
    if (!isLate && (events.length >= bounds.eventsMax || event.round >= beforeRound)) break
    if (!bounds.admits(event)) break
    alignment.release(release)
    event.isTaken = true
    event.isLate = isLate
    // What is sent moves the frontier; what is folded last in the pipeline has only this to show.
    if (!isLate) state.nearerAtMs = nowMs
    events.push(event)
  }
  const next = alignment.peek({ nowMs })
  if (next && !state.isRestoring && next.round < beforeRound) alignment.holdBack(next)
  assert(alignment.lateHeld === 0, 'late events go with the first batch after they were read')
  return events
}

/** `maxReleaseTime`: nothing of a later event time goes, so that no task of a process is far ahead of the others. */
export function releaseBounds(state: TaskState, nowMs: number, maxReleaseTime: number): ReleaseBounds {
  const { stallMaxMs } = state
  const { restoreTo } = state.options
  if (restoreTo && state.isRestoring) {
    const forced = hasReadRestored(state, restoreTo) ? restoreTo.frontier : initialFrontier
    return { nowMs, forced, ceiling: restoreTo.frontier }
  }
  return { nowMs, stallMaxMs, ceiling: { time: maxReleaseTime, order: Number.POSITIVE_INFINITY } }
}

/** The first event may go, whatever it waits for. */
export function isReleaseForced(state: TaskState, nowMs: number): boolean {
  return state.alignment.peek(releaseBounds(state, nowMs, Number.POSITIVE_INFINITY)) !== undefined
}

function hasReadRestored({ inputs }: TaskState, target: TaskPosition): boolean {
  return inputs.every((input, i) => input.nextOffset >= target.inputs[i]!.nextOffset)
}

function takeLive(state: TaskState, events: readonly StageEvent[]): TaskBatch | null {
  for (const event of events) requireSlots(state, event)
  return events.length > 0 || state.rejections.length > 0 ? batchOf(state, events, false) : null
}

/** What an earlier definition sent without slots that this one computes with can be folded again, not predicted. */
function requireSlots({ inputs, options }: TaskState, event: StageEvent): void {
  const { unsent } = event
  if (unsent.length === 0) return
  const { id, input, offset } = event
  throw new PipelineError(
    'record_unreadable',
    `The event ${id} at ${inputs[input]!.topic} ${options.partition}:${offset} was sent on by an earlier definition, without ` +
      `${unsent.join(', ')}, and was not handled before the change. Start the earlier definition again and let it finish: ` +
      'when nothing is sent to it, millrace doctor says that nothing is unread.',
  )
}

/** The last batch of a restore is empty: from its position on the task is live. */
function takeRestored(state: TaskState, events: readonly StageEvent[], nowMs: number): TaskBatch | null {
  const { restoreTo } = state.options
  assert(restoreTo)
  if (events.length > 0) return batchOf(state, events, true)
  if (!hasReadRestored(state, restoreTo) || hasDroppedUpTo(state, restoreTo.frontier)) return null
  state.floor = restoreTo.frontier
  state.retentionWatermark = Math.max(state.retentionWatermark, restoreTo.retentionWatermark)
  // What is folded again was counted when it was folded first.
  const { late, early, ...overtaken } = restoreTo.disorder ?? noDisorder
  const { counts } = state.alignment
  state.disorderBefore = { late: late - counts.late, early: early - counts.releasedEarly, ...overtaken }
  state.isRestoring = false
  state.alignment.startWaiting(nowMs)
  state.readAtMs = nowMs
  finishRestoredInputs(state)
  return batchOf(state, [], true)
}

function batchOf(state: TaskState, events: readonly StageEvent[], isRestore: boolean): TaskBatch {
  const { options, inputs, rejections } = state
  state.rejections = []
  state.hasMoved = false
  return {
    events,
    rejections,
    position: positionOf(state),
    stagePosition: {
      stage: options.stage.entity.name,
      partition: options.partition,
      next: inputs.map((input) => input.nextOffset),
    },
    isRestore,
  }
}
