/** Time as an argument: the system clock, and the contract that virtual clocks of tests implement too. */
import { setImmediate as nextTurn } from 'node:timers/promises'

export interface Clock {
  /** Milliseconds since 1970. */
  nowMs(): number
  /** Milliseconds since an arbitrary origin, monotonic; for durations. */
  elapsedMs(): number
  sleep(ms: number): Promise<void>
  /** Yields to everything else that is due: one turn of the event loop, or its equivalent in virtual time. */
  turn(): Promise<void>
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  turn: () => nextTurn(),
}
