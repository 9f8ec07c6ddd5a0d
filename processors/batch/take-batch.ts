/**
 * What a task gives to be folded: the events that every source has passed, in canonical order, with the position that the task has once
 * they are done. Events that were held for longer than allowed are released early. Called by `order.ts` through `Task.take`.
 */
import assert from 'node:assert/strict'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { TaskPosition } from '../position.ts'
import type { ReleaseBounds } from '../watermarks/alignment.ts'
import { initialFrontier } from '../watermarks/frontier.ts'
import { readUnread } from './decode.ts'
import type { StageEvent } from './stage-event.ts'
import type { TakeBounds, TaskBatch } from './task-contract.ts'
import { longestHeld } from './task-input.ts'
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
  const everything = { ...release, forced: { time: Number.POSITIVE_INFINITY, order: 0 } }
  const releaseNow = () => (alignment.held > heldMaxOf(state) ? everything : release)
  const beforeRound = state.isRestoring ? Number.POSITIVE_INFINITY : bounds.beforeRound
  const events: StageEvent[] = []
  const keys = new Set<string>()
  for (let event = alignment.peek(releaseNow()); event; event = alignment.peek(releaseNow())) {
    if (!alignment.isLate(event) && (events.length >= bounds.eventsMax || event.round >= beforeRound)) break
    if (event.key !== null && !keys.has(event.key)) {
      if (keys.size >= bounds.keysMax) break
      keys.add(event.key)
    }
    alignment.release(releaseNow())
    event.isTaken = true
    events.push(event)
  }
  assert(alignment.lateHeld === 0, 'late events go with the first batch after they were read')
  return events
}

export function releaseBounds(state: TaskState, nowMs: number, maxReleaseTime: number): ReleaseBounds {
  const { restoreTo } = state.options
  if (restoreTo && state.isRestoring) {
    return {
      nowMs,
      forced: hasReadRestored(state, restoreTo) ? restoreTo.frontier : initialFrontier,
      ceiling: restoreTo.frontier,
    }
  }
  const forced = overdueUpTo(state, nowMs)
  const until = { time: maxReleaseTime, order: Number.POSITIVE_INFINITY }
  // A task of the stage that is behind is waited for no longer than anything else.
  return { nowMs, forced, ceiling: compareCanonical(forced, until) > 0 ? forced : until }
}

/** The first event is released, whatever it waits for. */
export function isReleaseForced(state: TaskState, nowMs: number): boolean {
  const { alignment } = state
  if (alignment.held > heldMaxOf(state)) return true
  return alignment.peek(releaseBounds(state, nowMs, Number.POSITIVE_INFINITY)) !== undefined
}

/** Events beyond this number are released although a source has not passed them; never where nothing may be released early. */
function heldMaxOf({ isRestoring, holdMaxMs, options }: TaskState): number {
  return isRestoring || !Number.isFinite(holdMaxMs) ? Number.POSITIVE_INFINITY : options.limits.heldMax
}

/** Up to where events were held for longer than they may be. */
function overdueUpTo({ inputs, holdMaxMs, liveSinceMs }: TaskState, nowMs: number): CanonicalPosition {
  let overdue: CanonicalPosition = initialFrontier
  if (!Number.isFinite(holdMaxMs)) return overdue
  for (const input of inputs) {
    for (const event of longestHeld(input)) {
      if (nowMs - Math.max(event.readAtMs, liveSinceMs) <= holdMaxMs) break
      if (compareCanonical(event, overdue) > 0) overdue = event
    }
  }
  return overdue
}

function hasReadRestored({ inputs }: TaskState, target: TaskPosition): boolean {
  return inputs.every((input, i) => input.nextOffset >= target.inputs[i]!.nextOffset)
}

function takeLive(state: TaskState, events: readonly StageEvent[]): TaskBatch | null {
  return events.length > 0 || state.rejections.length > 0 ? batchOf(state, events, false) : null
}

/** The last batch of a restore is empty: from its position on the task is live. */
function takeRestored(state: TaskState, events: readonly StageEvent[], nowMs: number): TaskBatch | null {
  const { restoreTo } = state.options
  assert(restoreTo)
  if (events.length > 0) return batchOf(state, events, true)
  if (!hasReadRestored(state, restoreTo)) return null
  state.floor = restoreTo.frontier
  state.retentionWatermark = Math.max(state.retentionWatermark, restoreTo.retentionWatermark)
  state.isRestoring = false
  state.liveSinceMs = nowMs
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
