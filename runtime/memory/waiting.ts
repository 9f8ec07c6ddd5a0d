/** Waiting without polling: what somebody waits for is looked at again after every change and when its time has come. */
import type { Clock } from '../clock.ts'

export interface Waiting {
  /** Something changed: everybody who waits looks again. */
  changed(): void
  /**
   * The first answer of `look` that is not null; null when `elapsedMs` of the clock has reached `untilMs`. `wakeAtMs`: when to look
   * again although nothing changed. Rejects with what `look` throws.
   */
  until<T>(look: () => T | null, times: { untilMs: number; wakeAtMs: () => number }): Promise<T | null>
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
    async until(look, { untilMs, wakeAtMs }) {
      for (;;) {
        const found = look()
        if (found !== null) return found
        const nowMs = clock.elapsedMs()
        if (nowMs >= untilMs) return null
        await pause(Math.min(untilMs, wakeAtMs()) - nowMs)
      }
    },
  }
}
