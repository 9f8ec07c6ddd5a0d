/**
 * Two models' scores of the same rows in, by how much the one is better and between which bounds out. Called by the gates and by the check
 * for a rollback. Pure; all randomness comes from the seed.
 */
import assert from 'node:assert/strict'
import type { QualityMetric } from '../../schemas/models/quality-metrics.ts'
import { createRandom } from '../models/random.ts'
import { averagePrecision, brier, logLoss, type MeasureOptions, ranked, rocAuc } from './metrics.ts'

/** Rows with mature labels: one entry a row in every column. */
export interface EvaluationRows {
  /** One of 0 and 1. */
  readonly labels: ArrayLike<number>
  /** Sample weights, where negatives represent several; null: 1 each. */
  readonly weights: ArrayLike<number> | null
  /**
   * Code of the entity that each row belongs to, from 0; null where rows have nothing to do with each other. Events of one entity are alike
   * over days (a stolen card is used again and again): drawn one by one, they would pass for as many witnesses.
   */
  readonly blocks: Int32Array | null
}

export interface BootstrapOptions {
  readonly metric: QualityMetric
  readonly seed: number
  /** Resamples, each of which measures both models on all rows. */
  readonly iterations: number
  /** Of each of the two bounds by itself, above 0.5 and below 1. */
  readonly confidence: number
}

export interface PairedGain {
  readonly value: number
  readonly other: number
  /** How much better `value` is than `other`, whichever way the metric counts: positive is better. */
  readonly gain: number
  readonly lower: number
  readonly upper: number
}

interface Metric {
  readonly of: (labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions) => number
  /** 1 where more is better, −1 where less is. */
  readonly sign: 1 | -1
}

export const metrics = {
  averagePrecision: { of: averagePrecision, sign: 1 },
  auc: { of: rocAuc, sign: 1 },
  logLoss: { of: logLoss, sign: -1 },
  brier: { of: brier, sign: -1 },
} satisfies Record<QualityMetric, Metric>

/**
 * A resample weighs every entity by a draw of Poisson's distribution of mean 1, the same for both models: whole entities
 * are drawn or left out together, and the order of the rows by score, the expensive part, stays the same. Resamples of one class, useless
 * for a ranking, are left out; NaN bounds mean that all were. Both classes must be there.
 */
export function pairedGain(
  rows: EvaluationRows,
  scores: ArrayLike<number>,
  otherScores: ArrayLike<number>,
  options: BootstrapOptions,
): PairedGain {
  const { sign } = metrics[options.metric]
  const one = arranged(rows, scores, options.metric)
  const two = arranged(rows, otherScores, options.metric)
  const gains = resampled(rows, options, (draws) => sign * (one.measure(draws) - two.measure(draws)))
  const [value, other] = [one.measure(null), two.measure(null)]
  return { value, other, gain: sign * (value - other), ...boundsOf(gains, options.confidence) }
}

/** How often each block is drawn; null: once. */
type Draws = Uint8Array | null

/**
 * The rows laid out by falling score: this is measured hundreds of times, and reading them in storage order takes half of
 * the time of reading them here and there.
 */
function arranged({ labels, weights, blocks }: EvaluationRows, scores: ArrayLike<number>, metric: QualityMetric) {
  const order = ranked(scores)
  const labelsByScore = Uint8Array.from(order, (row) => labels[row]!)
  const byScore = Float64Array.from(order, (row) => scores[row]!)
  const weightsByScore = Float64Array.from(order, (row) => (weights === null ? 1 : weights[row]!))
  const blocksByScore = Int32Array.from(order, (row) => (blocks === null ? row : blocks[row]!))
  const drawn = new Float64Array(order.length)
  const rows = Uint32Array.from(order, (_, at) => at)
  const measure = (draws: Draws): number => {
    if (draws === null) return metrics[metric].of(labelsByScore, byScore, { weights: weightsByScore, rows })
    for (let at = 0; at < drawn.length; at++) drawn[at] = draws[blocksByScore[at]!]! * weightsByScore[at]!
    return metrics[metric].of(labelsByScore, byScore, { weights: drawn, rows })
  }
  return { measure }
}

/** What is measured in each resample, ascending. */
function resampled(
  { labels, blocks }: EvaluationRows,
  { seed, iterations }: BootstrapOptions,
  measure: (draws: Uint8Array) => number,
): number[] {
  assert(Number.isInteger(iterations) && iterations > 0, `${iterations} iterations, expected at least 1`)
  const count = labels.length
  assert(blocks === null || blocks.length === count, `${blocks?.length} blocks for ${count} rows`)
  const blockOf = (row: number) => (blocks === null ? row : blocks[row]!)
  const random = createRandom(seed)
  const draws = new Uint8Array(blocks === null ? count : blocks.reduce((max, block) => Math.max(max, block), -1) + 1)
  const found: number[] = []
  for (let iteration = 0; iteration < iterations; iteration++) {
    for (let block = 0; block < draws.length; block++) draws[block] = poissonOfOne(random.next())
    let hasPositive = false
    let hasNegative = false
    for (let row = 0; row < count && !(hasPositive && hasNegative); row++) {
      if (draws[blockOf(row)] === 0) continue
      if (labels[row] === 1) hasPositive = true
      else hasNegative = true
    }
    const value = hasPositive && hasNegative ? measure(draws) : Number.NaN
    if (!Number.isNaN(value)) found.push(value)
  }
  return found.sort((a, b) => a - b)
}

function boundsOf(ascending: readonly number[], confidence: number): { lower: number; upper: number } {
  assert(confidence > 0.5 && confidence < 1, `confidence ${confidence}, expected more than 0.5 and less than 1`)
  return { lower: quantile(ascending, 1 - confidence), upper: quantile(ascending, confidence) }
}

/** P(0), P(0) + P(1), …: larger draws have less than one chance in a million and a half. */
const poissonSteps = Array.from({ length: 9 }, (_, most) => {
  let term = Math.exp(-1)
  let sum = 0
  for (let k = 0; k <= most; k++, term /= k) sum += term
  return sum
})

function poissonOfOne(uniform: number): number {
  let drawn = 0
  while (drawn < poissonSteps.length && uniform >= poissonSteps[drawn]!) drawn++
  return drawn
}

/** Between neighbours in proportion; NaN of nothing. */
function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) return Number.NaN
  const at = share * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!)
}
