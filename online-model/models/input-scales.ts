/** From a vector to the inputs of a network: the fit, the learner and the scoring of the perceptron compute it alike, to the last bit. */

import { log1p } from './exponentials.ts'

export interface InputScales {
  /** What a value is measured in before its logarithm is taken; null where the network is given the value itself. */
  readonly units: Float64Array | null
  readonly means: Float64Array
  readonly scales: Float64Array
}

/**
 * Standardised inputs are held within this: an amount a hundred deviations out carries no more information than one of ten, and must not
 * throw a gradient or a score that far.
 */
export const inputMax = 10

/**
 * Like the value itself where that is small against the unit, and like its logarithm where it is large: amounts, counts and means have long
 * tails, and a ratio of two of them, which is informative, is a difference of logarithms.
 */
export function signedLog(value: number, unit: number): number {
  return value < 0 ? -log1p(-value / unit) : log1p(value / unit)
}

/** The vector that begins at `from`. Writes 0, which is the mean, where a value is missing. */
export function standardise(
  vectors: ArrayLike<number>,
  from: number,
  { units, means, scales }: InputScales,
  into: Float32Array | Float64Array,
  at: number,
): void {
  for (let i = 0; i < means.length; i++) {
    const value = vectors[from + i]!
    const input = ((units === null ? value : signedLog(value, units[i]!)) - means[i]!) / scales[i]!
    // Only NaN differs from itself.
    // biome-ignore lint/suspicious/noSelfCompare: see above.
    if (input !== input) into[at + i] = 0
    else into[at + i] = input > inputMax ? inputMax : input < -inputMax ? -inputMax : input
  }
}
