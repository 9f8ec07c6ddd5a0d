/** The Euclidean norm of a list of numbers. Called by what compares and summarises weights. */

export function norm(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0))
}
