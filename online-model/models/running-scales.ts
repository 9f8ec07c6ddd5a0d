/** Labelled vectors in, mean and scale of every column out as they are by now: the scaler of a learner. Scoring never moves it. */
import type { StateArrays } from './learner-state.ts'

export interface RunningScales {
  add(vector: ArrayLike<number>, weight: number): void
  readonly means: Float64Array
  readonly scales: Float64Array
  readonly arrays: StateArrays
}

/** Beyond so much weight the past fades, so that the scales follow what drifts. */
const memoryWeight = 200_000

export function createRunningScales(width: number): RunningScales {
  const counts = new Float64Array(width)
  const means = new Float64Array(width)
  const variances = new Float64Array(width)
  const scales = new Float64Array(width).fill(1)
  return {
    add(vector, weight) {
      for (let i = 0; i < width; i++) {
        const value = vector[i]!
        if (Number.isNaN(value)) continue
        counts[i] = Math.min(counts[i]! + weight, memoryWeight)
        // Weights beyond the memory would overshoot the value.
        const share = Math.min(weight / counts[i]!, 1)
        const deviation = value - means[i]!
        means[i]! += share * deviation
        variances[i]! += share * ((1 - share) * deviation * deviation - variances[i]!)
        const variance = variances[i]!
        // A constant such as 0.1 leaves rounding errors, which must not be blown up to full size.
        scales[i] = variance > (1e-12 * means[i]!) ** 2 && variance > Number.MIN_VALUE ? Math.sqrt(variance) : 1
      }
    },
    means,
    scales,
    arrays: { 'scales.counts': counts, 'scales.means': means, 'scales.variances': variances, 'scales.scales': scales },
  }
}
