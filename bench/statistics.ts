/**
 * Figures of several runs in, smallest, median and greatest out; latencies in, percentiles out. Pure; called by the
 * jobs and the report.
 */
import assert from 'node:assert/strict'

export interface Spread {
  readonly min: number
  readonly median: number
  readonly max: number
}

export interface LatencyMs {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

/** Of an even count the median is the mean of the two in the middle. */
export function spread(values: readonly number[]): Spread {
  assert(values.length > 0 && values.every(Number.isFinite), `no spread of ${values.join(', ')}`)
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length / 2
  const median = (sorted[Math.ceil(half) - 1]! + sorted[Math.floor(half)]!) / 2
  return { min: rounded(sorted[0]!), median: rounded(median), max: rounded(sorted.at(-1)!) }
}

/** Over every single value, by nearest rank: nothing is binned. Null where there is none. */
export function latencyOf(valuesMs: Iterable<number>): LatencyMs | null {
  const sorted = Float64Array.from(valuesMs).sort()
  if (sorted.length === 0) return null
  const rank = (share: number) => rounded(sorted[Math.ceil(share * sorted.length) - 1]!)
  return { p50: rank(0.5), p99: rank(0.99), p999: rank(0.999), max: rank(1) }
}

/** Five digits: more than any of these figures is good for. */
export function rounded(value: number): number {
  return Number(value.toPrecision(5))
}
