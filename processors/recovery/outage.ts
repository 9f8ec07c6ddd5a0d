/**
 * A run of failures without progress between them, and the delay before the next attempt. Pure; called by the worker after each failed
 * session.
 */
export interface Outage {
  /** Failures since the last progress. */
  readonly failures: number
  /** When the first of them happened. */
  readonly sinceMs: number
}

export const noOutage: Outage = { failures: 0, sinceMs: 0 }

const delayFirstMs = 50
const delayMaxMs = 5_000

/** `hasProgressed`: the session that failed had processed something, so the failure begins a new outage. */
export function afterFailure({ failures, sinceMs }: Outage, hasProgressed: boolean, nowMs: number): Outage {
  return hasProgressed || failures === 0 ? { failures: 1, sinceMs: nowMs } : { failures: failures + 1, sinceMs }
}

/** Exponential, from half of the delay to all of it: `random` is from 0 to 1. */
export function retryDelayMs({ failures }: Outage, random: number): number {
  return Math.min(delayMaxMs, delayFirstMs * 2 ** (failures - 1)) * (0.5 + random / 2)
}
