/** A scoring function and vectors in, how long a score takes out; for the gate, called by the trainer. The clock is handed in. */
import type { Latency } from './gates.ts'

/** Rounds over the vectors; the first ones warm the compiler up and are not counted. */
const rounds = { warm: 3, counted: 5 }
export const latencyVectorsMax = 2_000

/**
 * Quantiles over single calls, of the quickest round: other work of the machine makes a round slower, never quicker. `elapsedUs` should
 * resolve parts of a microsecond. At most `latencyVectorsMax` of the vectors are used; NaN without any.
 */
export function scoringLatency(
  score: (vector: ArrayLike<number>) => number,
  { rows, width }: { readonly rows: Float64Array; readonly width: number },
  elapsedUs: () => number,
): Latency {
  const count = Math.min(latencyVectorsMax, Math.floor(rows.length / width))
  const vectors = Array.from({ length: count }, (_, row) => rows.subarray(row * width, (row + 1) * width))
  let best: Latency = { p50Us: Number.NaN, p99Us: Number.NaN }
  for (let round = 0; round < rounds.warm + rounds.counted; round++) {
    const took = new Float64Array(count)
    for (let row = 0; row < count; row++) {
      const began = elapsedUs()
      score(vectors[row]!)
      took[row] = elapsedUs() - began
    }
    if (round < rounds.warm || count === 0) continue
    took.sort()
    const found = { p50Us: took[Math.floor(count / 2)]!, p99Us: took[Math.floor(count * 0.99)]! }
    if (!(best.p99Us <= found.p99Us)) best = found
  }
  return best
}
