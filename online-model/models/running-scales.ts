/** Labelled vectors in, the scales of a network's inputs out as they are by now: the scaler of a learner. Scoring never moves it. */
import { type InputScales, signedLog } from './input-scales.ts'
import type { StateArrays } from './learner-state.ts'

export interface RunningScales {
  /** Row-major; the first `count` rows. */
  add(rows: Float64Array, weights: ArrayLike<number>, count: number): void
  /** They move with `add`. */
  readonly current: InputScales
  /** Whether there were two values of the column that differ. */
  hasVaried(column: number): boolean
  readonly arrays: StateArrays
}

/** Beyond so much weight the past fades, so that the scales follow what drifts. */
const memoryWeight = 200_000

/** `isLogarithmic`: the inputs are signed logarithms, each in the running deviation of its value. */
export function createRunningScales(width: number, isLogarithmic: boolean): RunningScales {
  const values = createMoments(width)
  const logarithms = isLogarithmic ? createMoments(width) : null
  const { means, deviations } = logarithms ?? values
  return {
    add(rows, weights, count) {
      for (let at = 0; at < count * width; at++) values.add(at % width, rows[at]!, weights[Math.floor(at / width)]!)
      if (logarithms === null) return
      for (let at = 0; at < count * width; at++) {
        const column = at % width
        const logarithm = signedLog(rows[at]!, values.deviations[column]!)
        logarithms.add(column, logarithm, weights[Math.floor(at / width)]!)
      }
    },
    hasVaried: values.varies,
    current: { units: logarithms ? values.deviations : null, means, scales: deviations },
    arrays: { ...values.arrays('values'), ...logarithms?.arrays('logarithms') },
  }
}

function createMoments(width: number) {
  const counts = new Float64Array(width)
  const means = new Float64Array(width)
  const variances = new Float64Array(width)
  const deviations = new Float64Array(width).fill(1)
  /** A constant such as 0.1 leaves rounding errors, which must not be blown up to full size. */
  function varies(column: number): boolean {
    const variance = variances[column]!
    return variance > (1e-12 * means[column]!) ** 2 && variance > Number.MIN_VALUE
  }
  return {
    varies,
    add(column: number, value: number, weight: number): void {
      if (Number.isNaN(value)) return
      counts[column] = Math.min(counts[column]! + weight, memoryWeight)
      // Weights beyond the memory would overshoot the value.
      const share = Math.min(weight / counts[column]!, 1)
      const deviation = value - means[column]!
      means[column]! += share * deviation
      variances[column]! += share * ((1 - share) * deviation * deviation - variances[column]!)
      deviations[column] = varies(column) ? Math.sqrt(variances[column]!) : 1
    },
    means,
    deviations,
    arrays: (name: string): StateArrays => ({
      [`${name}.counts`]: counts,
      [`${name}.means`]: means,
      [`${name}.variances`]: variances,
      [`${name}.deviations`]: deviations,
    }),
  }
}
