/** Latencies from the scheduled send of an event to the receipt of its prediction: instants in, percentiles out. Bounded in memory. */
import { createHistogram } from 'node:perf_hooks'

export interface LatencyPercentiles {
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

export interface LatencyRecord {
  /** Events sent and not received yet. */
  readonly waiting: number
  scheduled(id: string, atMs: number): void
  /** The latency in ms, null for an event that is not waited for. */
  received(id: string, atMs: number): number | null
  /** Over all that was received, ms; null before the first. */
  percentiles(): LatencyPercentiles | null
}

/** Events that are waited for at the same time; more are sent but not measured. */
const waitingMax = 1_000_000
const microsecondsPerMs = 1_000

export function createLatencyRecord(): LatencyRecord {
  const scheduledMs = new Map<string, number>()
  const histogram = createHistogram({ lowest: 1, highest: 3_600_000 * microsecondsPerMs, figures: 3 })
  const percentile = (p: number) => histogram.percentile(p) / microsecondsPerMs

  return {
    get waiting() {
      return scheduledMs.size
    },
    scheduled(id, atMs) {
      if (scheduledMs.size < waitingMax) scheduledMs.set(id, atMs)
    },
    received(id, atMs) {
      const sentMs = scheduledMs.get(id)
      if (sentMs === undefined) return null
      scheduledMs.delete(id)
      const latencyMs = Math.max(0, atMs - sentMs)
      histogram.record(Math.max(1, Math.round(latencyMs * microsecondsPerMs)))
      return latencyMs
    },
    percentiles: () =>
      histogram.count === 0 ? null : { p50: percentile(50), p99: percentile(99), p999: percentile(99.9) },
  }
}
