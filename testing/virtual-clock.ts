/**
 * Time that passes only when everything waits: sleepers are woken in order of time, and time jumps to the next sleeper once all that
 * the last one started is idle. Hours pass in milliseconds, and the same run sees the same times again. Created by the pipeline
 * runner and by tests.
 */
import { setImmediate } from 'node:timers'
import type { Clock } from '../runtime/clock.ts'

interface Sleeper {
  readonly atMs: number
  readonly wake: () => void
}

/** `turnMs`: what a turn costs, so that time passes while work is done. */
export function createVirtualClock(startMs: number, { turnMs = 0 }: { readonly turnMs?: number } = {}): Clock {
  let elapsedMs = 0
  let isDriving = false
  /** In order of time; those of the same time in the order in which they fell asleep. */
  const sleepers: Sleeper[] = []

  function sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      const atMs = elapsedMs + Math.max(0, ms)
      let index = sleepers.length
      while (index > 0 && sleepers[index - 1]!.atMs > atMs) index--
      sleepers.splice(index, 0, { atMs, wake })
      if (isDriving) return
      isDriving = true
      setImmediate(drive)
    })
  }

  /** One at a time: before the next turn of the event loop every promise that the sleeper keeps has been kept. */
  function drive(): void {
    const next = sleepers.shift()!
    elapsedMs = Math.max(elapsedMs, next.atMs)
    next.wake()
    if (sleepers.length > 0) setImmediate(drive)
    else isDriving = false
  }

  return { nowMs: () => startMs + Math.floor(elapsedMs), elapsedMs: () => elapsedMs, sleep, turn: () => sleep(turnMs) }
}
