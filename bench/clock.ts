/** The system's clock with fractions of a millisecond, the same in all processes of this machine: for latencies across processes. */
import { type Clock, systemClock } from '../runtime/clock.ts'

export const fineClock: Clock = { ...systemClock, nowMs: () => performance.timeOrigin + performance.now() }
