/**
 * One task: a partition of a stage, its inputs and where it stands. Fetched records go in (`accept`), batches in canonical order come out
 * (`take`), each with the position that the task has once the batch is done. Synchronous and without a clock of its own; the batch loop
 * is its only caller.
 */
import { hasCaughtUp, startCatchUp } from './catch-up.ts'
import { acceptFetched } from './decode.ts'
import { readTime, wantedFetches } from './fetch-plan.ts'
import { acceptReread, isReread } from './reread.ts'
import { isReleaseForced, takeBatch, takeMovedPosition } from './take-batch.ts'
import type { Task, TaskOptions } from './task-contract.ts'
import { openTaskState } from './task-state.ts'

export type { TakeBounds, Task, TaskBatch, TaskInput, TaskLimits, TaskOptions } from './task-contract.ts'

export function createTask(options: TaskOptions): Task {
  const state = openTaskState(options)
  const { stage, partition } = options
  const { inputs, alignment } = state
  return {
    stage,
    partition,
    inputs,
    get held() {
      return alignment.held + state.overflowed - state.heldAgain
    },
    counts: alignment.counts,
    get dropped() {
      return state.overflowed - state.heldAgain
    },
    get lastEarly() {
      return alignment.lastEarly
    },
    get frontier() {
      return alignment.frontier
    },
    get retentionWatermark() {
      return state.retentionWatermark
    },
    get isRestoring() {
      return state.isRestoring
    },
    readTime: () => readTime(state),
    wanted: (nowMs) => wantedFetches(state, nowMs),
    accept(fetched, round, nowMs) {
      if (isReread(state, fetched)) acceptReread(state, fetched, round, nowMs)
      else acceptFetched(state, fetched, round, nowMs)
    },
    take: (nowMs, bounds) => takeBatch(state, nowMs, bounds),
    takePosition: () => takeMovedPosition(state),
    noteOvertaken({ overtaken, uncounted }) {
      const before = state.disorderBefore
      state.disorderBefore = {
        ...before,
        overtaken: before.overtaken + overtaken,
        uncounted: before.uncounted + uncounted,
      }
    },
    // A restore takes what was read as soon as all of it is there.
    isWaitingForEnd: (nowMs) =>
      !state.isRestoring &&
      state.rejections.length === 0 &&
      alignment.isWaitingForEnd(nowMs) &&
      !isReleaseForced(state, nowMs),
    topRound: () => alignment.top()?.round ?? -1,
    topRaw() {
      const top = alignment.top()
      return top && inputs[top.input]!.stream ? top : null
    },
    topTime: () => alignment.top()?.time ?? Number.POSITIVE_INFINITY,
    endRound: alignment.endRound,
    watermark: alignment.watermark,
    get heldBackAt() {
      return alignment.heldBackAt
    },
    isAtEnd: () => !state.isRestoring && alignment.isAtEnd(),
    idleUpTo: alignment.idleUpTo,
    isReading: (nowMs) => nowMs - state.readAtMs <= state.stallMaxMs,
    progressAtMs: (nowMs) => Math.max(state.nearerAtMs, alignment.blockingProgressMs(nowMs)),
    startCatchUp: (round) => startCatchUp(state, round),
    hasCaughtUp: () => hasCaughtUp(state),
  }
}
