/**
 * Time for tests: whoever sleeps is woken in order of time, and time jumps to the next sleeper as soon as nothing else is to be done.
 * Hours pass in milliseconds, and the same test sees the same times again.
 */
import type { Clock } from '../../runtime/clock.ts'

/** After so many turns of the event loop in which nobody else had anything to do, everybody sleeps or waits for one who does. */
const quietTurns = 2

/** Clocks with sleepers, each of which waits for its next turn: what a test before has left behind is not work. */
let driving = 0

/** `turnMs`: what a turn of the event loop costs in which somebody had something to do, so that time passes while work is done. */
export function createVirtualClock(startMs: number, { turnMs = 0 }: { readonly turnMs?: number } = {}): Clock {
  let elapsedMs = 0
  let quiet = 0
  let isDriving = false
  const sleepers: Array<{ readonly atMs: number; readonly wake: () => void }> = []

  function sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      const atMs = elapsedMs + Math.max(0, ms)
      let place = sleepers.length
      while (place > 0 && sleepers[place - 1]!.atMs > atMs) place--
      sleepers.splice(place, 0, { atMs, wake })
      quiet = 0
      if (isDriving) return
      isDriving = true
      driving++
      setImmediate(drive)
    })
  }

  function drive(): void {
    const turns = process.getActiveResourcesInfo().filter((kind) => kind === 'Immediate').length
    const isQuiet = turns < driving
    if (isQuiet) quiet++
    else {
      quiet = 0
      elapsedMs += turnMs
    }
    if (quiet > quietTurns) elapsedMs = Math.max(elapsedMs, sleepers[0]!.atMs)
    if (sleepers[0]!.atMs <= elapsedMs) {
      quiet = 0
      sleepers.shift()!.wake()
    }
    isDriving = sleepers.length > 0
    if (isDriving) setImmediate(drive)
    else driving--
  }

  return { nowMs: () => startMs + Math.floor(elapsedMs), elapsedMs: () => elapsedMs, sleep }
}
