/** Waiting without polling: a condition is checked again after every change and when a timeout is due. Used by all of `memory/`. */
import type { Clock } from '../clock.ts'

export interface Waiting {
  /** Something changed: every waiting condition is checked again. */
  changed(): void
  /**
   * The first result of `check` that is not null; null when `elapsedMs` of the clock has reached `untilMs`. `wakeAtMs`: when to check
   * again although nothing changed. Rejects with what `check` throws.
   */
  until<T>(check: () => T | null, times: { untilMs: number; wakeAtMs: () => number }): Promise<T | null>
}

export function createWaiting(clock: Clock): Waiting {
  const asleep = new Set<() => void>()

  function changed(): void {
    const woken = [...asleep]
    asleep.clear()
    for (const wake of woken) wake()
  }

  function pause(restMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      asleep.add(resolve)
      if (!Number.isFinite(restMs)) return
      clock.sleep(Math.max(1, Math.ceil(restMs))).then(() => {
        asleep.delete(resolve)
        resolve()
      }, reject)
    })
  }

  return {
    changed,
    async until(check, { untilMs, wakeAtMs }) {
      for (;;) {
        const found = check()
        if (found !== null) return found
        const nowMs = clock.elapsedMs()
        if (nowMs >= untilMs) return null
        await pause(Math.min(untilMs, wakeAtMs()) - nowMs)
      }
    },
  }
}
