/**
 * The middle 80 % of a backlog: when each output was appended and what the process had used by then in, rates out. Start and end, where
 * boot, compiling and the last small batches are, do not count. Pure; called by the backlog jobs.
 */
import assert from 'node:assert/strict'

/** What a process had used at an instant. */
export interface Usage {
  /** Ms since 1970. */
  readonly atMs: number
  /** CPU seconds of the process since its start, user and system. */
  readonly cpuSeconds: number
  readonly residentBytes: number
}

export interface MiddleRates {
  readonly eventsPerSecond: number
  readonly eventsPerCpuSecond: number
}

/**
 * From the tenth to the ninetieth percentile output. Null where both came at the same instant, or without measurable CPU time:
 * too few events. `usages`: in order of time, from before the first output to after the last.
 */
export function middleRates(appendedAtMs: Float64Array, usages: readonly Usage[]): MiddleRates | null {
  const sorted = appendedAtMs.slice().sort()
  const from = Math.floor(sorted.length * 0.1)
  const to = Math.floor(sorted.length * 0.9)
  if (to <= from) return null
  const [fromMs, toMs] = [sorted[from]!, sorted[to]!]
  const seconds = (toMs - fromMs) / 1_000
  const cpuSeconds = cpuSecondsAt(usages, toMs) - cpuSecondsAt(usages, fromMs)
  if (seconds <= 0 || cpuSeconds <= 0) return null
  return { eventsPerSecond: (to - from) / seconds, eventsPerCpuSecond: (to - from) / cpuSeconds }
}

/** On a straight line between the two usages around the instant. */
export function cpuSecondsAt(usages: readonly Usage[], atMs: number): number {
  const next = usages.findIndex((usage) => usage.atMs >= atMs)
  assert(next !== -1 && (next > 0 || usages[0]!.atMs === atMs), `no usage is known on both sides of ${atMs}`)
  const after = usages[next]!
  if (after.atMs === atMs) return after.cpuSeconds
  const before = usages[next - 1]!
  const share = (atMs - before.atMs) / (after.atMs - before.atMs)
  return before.cpuSeconds + share * (after.cpuSeconds - before.cpuSeconds)
}
