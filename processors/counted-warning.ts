/**
 * Warnings about something that may happen to every event: how often and a sentence come in, a line in the log and the state for readiness
 * go out. The first is logged at once, the others are counted for a while. Called by `early-release.ts` and `overtaken-report.ts`.
 */
import type { Log } from '../runtime/log.ts'

export interface WarningState {
  /** Since the process began. */
  readonly count: number
  /** When the last of them was seen, ms. */
  readonly lastMs: number
  /** What the last of them was. */
  readonly sentence: string
}

export interface CountedWarning {
  add(where: TaskName, count: number, sentence: string): void
  /** Null where there were none. */
  state(): WarningState | null
}

export interface TaskName {
  readonly stage: string
  readonly partition: number
}

const logEveryMs = 60_000

/** `unit`: name of the count in the log. `advice`: what to think or do of it, behind the sentence. */
export function createCountedWarning(
  { log, nowMs }: { readonly log: Log; readonly nowMs: () => number },
  { unit, advice }: { readonly unit: string; readonly advice: string },
): CountedWarning {
  let state: WarningState | null = null
  let loggedCount = 0
  let loggedMs = Number.NEGATIVE_INFINITY

  function add({ stage, partition }: TaskName, added: number, sentence: string): void {
    const count = (state?.count ?? 0) + added
    state = { count, lastMs: nowMs(), sentence }
    if (state.lastMs - loggedMs < logEveryMs) return
    log.warn({ stage, partition, [unit]: count - loggedCount }, `${sentence} ${advice}`)
    loggedCount = count
    loggedMs = state.lastMs
  }

  return { add, state: () => state }
}
