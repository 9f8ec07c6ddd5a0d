/**
 * A time budget for the retries of one Kafka request: a number of milliseconds comes in, the pauses between attempts and the end of them
 * go out. Called by every request loop of `runtime/kafka`.
 */
import { backoffMs } from '../retry.ts'

export interface RetryBudget {
  /** Pauses before the next try, longer each time with some jitter; false, without a pause, once the time is over. */
  again(): Promise<boolean>
  leftMs(): number
  readonly totalMs: number
}

/** Ends after `totalMs`; pauses back off from `pauseMsFirst` up to `pauseMsMax`. */
export function createRetryBudget(totalMs: number, pauseMsFirst = 10, pauseMsMax = 250): RetryBudget {
  const end = monotonicMs() + totalMs
  let failures = 0
  const leftMs = () => Math.max(0, end - monotonicMs())
  return {
    totalMs,
    leftMs,
    async again() {
      const left = leftMs()
      if (left === 0) return false
      await delay(Math.min(left, backoffMs({ pauseMsFirst, pauseMsMax }, ++failures, Math.random)))
      return true
    },
  }
}

/** Resolves after `ms`. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Milliseconds on a clock that is never set back. */
export function monotonicMs(): number {
  return performance.now()
}
