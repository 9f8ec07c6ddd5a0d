/**
 * The terms of event-time progress, and the frontier as a value. Imported by everything that puts events in order or reports progress.
 *
 * - **Frontier**: a position in canonical order that has been reached. A source's frontier is the greatest position that was read from it;
 *   a task's frontier is the position of the last event that it released. An event at or before its task's frontier is *late*.
 * - **Watermark**: what a task guarantees to the next stage: it sends nothing at or before this position any more, except late events.
 * - **Retention watermark**: the event time by which facts are kept, at most the time of the task's frontier and held back by the slowest
 *   source. A fact expires once it is older than the retention watermark by the entity's retention.
 * - **Idle report**: a task's statement that it has read all of its inputs and has nothing to send. It names, for every source, the
 *   frontier that the task had observed before the fetch that found the end. It covers events at or before these frontiers and no others:
 *   an event that is sent later may follow one that the task has not read yet.
 */
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'

export type Frontier = CanonicalPosition

/** Before every event. */
export const initialFrontier: Frontier = { time: Number.NEGATIVE_INFINITY, order: -1 }

/** Of its own: an event that is a frontier would be kept in memory by it. */
export function copyOf({ time, order }: CanonicalPosition): { time: number; order: number } {
  return { time, order }
}

/** The position is at or before the frontier. */
export function isCovered(position: CanonicalPosition, frontier: Frontier): boolean {
  return compareCanonical(position, frontier) <= 0
}

export function laterOf(a: Frontier, b: Frontier): Frontier {
  return compareCanonical(a, b) >= 0 ? a : b
}

export function earlierOf(a: Frontier, b: Frontier): Frontier {
  return compareCanonical(a, b) <= 0 ? a : b
}
