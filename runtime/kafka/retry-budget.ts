/**
 * How long and how often something is tried again: every bounded retry of the Kafka rooms asks here for its pauses
 * and its end.
 */
export interface RetryBudget {
  /** Pauses before the next try, longer each time with some jitter; false, without a pause, once the time is over. */
  again(): Promise<boolean>
  leftMs(): number
  readonly totalMs: number
}

/** Ends after `totalMs`; pauses grow from `firstPauseMs` by a half each time up to `pauseMsMax`. */
export function createRetryBudget(totalMs: number, firstPauseMs = 10, pauseMsMax = 250): RetryBudget {
  const end = monotonicMs() + totalMs
  let pauseMs = firstPauseMs
  const leftMs = () => Math.max(0, end - monotonicMs())
  return {
    totalMs,
    leftMs,
    async again() {
      const left = leftMs()
      if (left === 0) return false
      await delay(Math.min(left, pauseMs * (0.75 + Math.random() / 2)))
      pauseMs = Math.min(pauseMsMax, pauseMs * 1.5)
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
