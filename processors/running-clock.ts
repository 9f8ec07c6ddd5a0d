/**
 * A clock that runs only while the process does: a clock in, one out that leaves out the time in which the process was stopped, or waited
 * for a server, beyond a second at a time. What a process did not hear meanwhile was said all the same. Made by the batch loop, which
 * asks it with every turn.
 */
import type { Clock } from '../runtime/clock.ts'

const pauseMaxMs = 1_000

/** Begins at the time of day, ms. */
export function createRunningClock(clock: Pick<Clock, 'nowMs' | 'elapsedMs'>): () => number {
  let nowMs = clock.nowMs()
  let lastMs = clock.elapsedMs()
  return () => {
    const elapsedMs = clock.elapsedMs()
    nowMs += Math.min(elapsedMs - lastMs, pauseMaxMs)
    lastMs = elapsedMs
    return nowMs
  }
}
