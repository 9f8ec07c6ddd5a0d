/** Time as an argument: the real clock is made here once, tests hand in their own. */
import { setImmediate as nextTurn } from 'node:timers/promises'

export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number
  /** Milliseconds from an arbitrary start, never going back; for durations. */
  elapsedMs(): number
  sleep(ms: number): Promise<void>
  /** Lets everybody else run first: a turn of the event loop, or what stands for one in virtual time. */
  turn(): Promise<void>
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  turn: () => nextTurn(),
}
