/** Where a task stands, and up to which event time it keeps facts. Read with every batch that a task gives (`order.ts`). */
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { TaskPosition } from '../position.ts'
import { resumeOf } from './task-input.ts'
import type { TaskState } from './task-state.ts'

export function positionOf(state: TaskState): TaskPosition {
  return {
    frontier: frontierOf(state),
    retentionWatermark: state.retentionWatermark,
    inputs: state.inputs.map((input) => {
      const { nextOffset, maxEventTime } = input
      return { ...(resumeOf(input) ?? { resumeOffset: nextOffset, maxEventTime }), nextOffset }
    }),
    ...disorderOf(state),
  }
}

/** While a restore is under way, that of the recovered position. */
function disorderOf({ disorderBefore, isRestoring, alignment }: TaskState): Pick<TaskPosition, 'disorder'> {
  const { counts } = alignment
  const late = disorderBefore.late + (isRestoring ? 0 : counts.late)
  const early = disorderBefore.early + (isRestoring ? 0 : counts.releasedEarly)
  return late + early > 0 ? { disorder: { ...disorderBefore, late, early } } : {}
}

/** The position never goes back behind the recovered one. */
function frontierOf({ alignment, floor }: TaskState): CanonicalPosition {
  return compareCanonical(alignment.frontier, floor) > 0 ? alignment.frontier : floor
}

/**
 * Event time of the source that is furthest behind, so that no fact is dropped which an event that is not late by its own stream still
 * needs. An input at its end is waited for as long as facts are kept anywhere: else the facts of a stream would never be dropped while
 * another is silent.
 */
export function slowestEventTime({ options, inputs, alignment, isRestoring, factsKeptMs }: TaskState): number {
  const { restoreTo } = options
  if (restoreTo && isRestoring) return restoreTo.retentionWatermark
  const idleFrom = alignment.frontier.time - factsKeptMs
  let slowest = alignment.minRetentionWatermark(idleFrom)
  for (const input of inputs) {
    if (!input.stream) continue
    const resume = resumeOf(input)
    const reached = resume ? resume.maxEventTime : input.maxEventTime
    slowest = Math.min(slowest, resume || !input.isAtEnd ? reached : Math.max(reached, idleFrom))
  }
  return slowest
}

/** `slowest`: see `slowestEventTime`, taken before the events of the batch left their inputs. */
export function advanceRetentionWatermark(state: TaskState, slowest: number): void {
  state.retentionWatermark = Math.max(state.retentionWatermark, Math.min(frontierOf(state).time, slowest))
}
