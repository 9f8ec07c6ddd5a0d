/**
 * Training rows in, mean and scale of every column out, as scikit-learn's StandardScaler gives them; called by the fits
 * of models.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TrainingRows } from './model.ts'

export interface ColumnScales {
  /** Mean of the values that are there; 0 for a column without any. */
  readonly means: Float64Array
  /** Population standard deviation; 1 for a constant column and for one without values. */
  readonly scales: Float64Array
}

/**
 * A row counts as often as its weight. Two passes, so that large means (timestamps) cost no digits. Throws
 * `model_untrainable` where the values of a column are too large to be squared.
 */
export function columnScales({ rows, rowCount, features, weights }: Omit<TrainingRows, 'labels'>): ColumnScales {
  const width = features.length
  assert(rows.length >= rowCount * width, `rows hold ${rows.length} values, expected ${rowCount} × ${width}`)
  const weightOf = (at: number) => (weights === null ? 1 : weights[Math.floor(at / width)]!)
  const means = new Float64Array(width)
  const scales = new Float64Array(width)
  const present = new Float64Array(width)
  for (let at = 0, column = 0; at < rowCount * width; at++, column = column + 1 === width ? 0 : column + 1) {
    const value = rows[at]!
    if (Number.isNaN(value)) continue
    if (!Number.isFinite(value)) assert.fail(`feature ${features[column]} of row ${Math.floor(at / width)} is ${value}`)
    const weight = weightOf(at)
    means[column]! += weight * value
    present[column]! += weight
  }
  for (let column = 0; column < width; column++) if (present[column]! > 0) means[column]! /= present[column]!
  for (let at = 0, column = 0; at < rowCount * width; at++, column = column + 1 === width ? 0 : column + 1) {
    const deviation = rows[at]! - means[column]!
    if (!Number.isNaN(deviation)) scales[column]! += weightOf(at) * deviation * deviation
  }
  for (let column = 0; column < width; column++) {
    const count = present[column]!
    const variance = count > 0 ? scales[column]! / count : 0
    if (!Number.isFinite(variance)) {
      throw new PipelineError(
        'model_untrainable',
        `Feature ${features[column]} has values too large to be standardised (mean ${means[column]}); ` +
          'declare its range or derive a smaller one.',
        { details: { feature: features[column] } },
      )
    }
    scales[column] = isConstant(count, means[column]!, variance) ? 1 : Math.sqrt(variance)
  }
  return { means, scales }
}

/** A constant such as 0.1 leaves a variance of rounding errors; dividing by it would blow noise up to full size. */
function isConstant(count: number, mean: number, variance: number): boolean {
  return variance <= count * Number.EPSILON * variance + (count * mean * Number.EPSILON) ** 2
}
