/**
 * Labels and scores in, measures of a model out, defined as in scikit-learn; called by training, evaluation and the gates. Every measure
 * takes sample weights, and the rows it is of where that is not all of them.
 */
import assert from 'node:assert/strict'

/** Labels are 0 or 1, scores are probabilities of 1; both have one entry a row. */
export interface Measures {
  readonly logLoss: number
  readonly auc: number
  readonly averagePrecision: number
  /** Mean squared distance of score and label. */
  readonly brier: number
  /** Expected calibration error over `calibrationBins` bins. */
  readonly calibrationError: number
}

export interface MeasureOptions {
  /** What each row counts for, not negative; 1 each unless given. */
  readonly weights?: ArrayLike<number> | null
  /** The rows that are measured, by falling score, as `ranked` and any part of its result are; all of them unless given. */
  readonly rows?: Uint32Array
}

/** Bins of equal width that `measure` and `calibrationError` use unless given. */
export const calibrationBins = 10

export function measure(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): Measures {
  const ordered = { ...options, rows: options.rows ?? ranked(scores) }
  return { ...rowByRow(labels, scores, ordered, calibrationBins), ...byRank(labels, scores, ordered) }
}

/** Row numbers by falling score. Rows of a group are dealt from it, so that a report sorts once. */
export function ranked(scores: ArrayLike<number>): Uint32Array {
  const order = Uint32Array.from(scores, (score, row) => {
    if (Number.isNaN(score)) assert.fail(`score of row ${row} is not a number`)
    return row
  })
  return order.sort((a, b) => scores[b]! - scores[a]!)
}

/**
 * Mean of −log p(label); scores of exactly 0 and 1 are held off by one rounding unit, so that one sure mistake is not
 * infinite.
 */
export function logLoss(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): number {
  return rowByRow(labels, scores, options, 1).logLoss
}

export function brier(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): number {
  return rowByRow(labels, scores, options, 1).brier
}

/**
 * Expected calibration error: by how much the mean score and the share of positives differ, in the mean over bins of equal width
 * (each without its lower edge, the first with 0), weighted by their rows.
 */
export function calibrationError(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options: MeasureOptions & { readonly bins?: number } = {},
): number {
  return rowByRow(labels, scores, options, options.bins ?? calibrationBins).calibrationError
}

/** Chance that a positive outranks a negative, ties counting half. NaN where there is only one class. */
export function rocAuc(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): number {
  return byRank(labels, scores, options).auc
}

/**
 * Precision at each distinct score, weighted by the recall gained there; no interpolation. 0 where there are no
 * positives.
 */
export function averagePrecision(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options: MeasureOptions = {},
): number {
  return byRank(labels, scores, options).averagePrecision
}

export interface ThresholdMeasures {
  /** Of what is flagged, the share that is positive; 0 where nothing is. */
  readonly precision: number
  /** Of the positives, the share that is flagged; 0 where there are none. */
  readonly recall: number
  readonly f1: number
  /** Sum of weights at or above the threshold. */
  readonly flagged: number
}

/** A row is flagged where its score reaches the threshold. */
export function atThreshold(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  threshold: number,
  options: MeasureOptions = {},
): ThresholdMeasures {
  const { rows, weights = null } = options
  requireOneEach(labels, scores, weights)
  const count = rows?.length ?? labels.length
  let positives = 0
  let flagged = 0
  let hits = 0
  for (let at = 0; at < count; at++) {
    const row = rows ? rows[at]! : at
    const weight = weights ? weights[row]! : 1
    if (labels[row] === 1) positives += weight
    if (scores[row]! < threshold) continue
    flagged += weight
    if (labels[row] === 1) hits += weight
  }
  return {
    precision: flagged === 0 ? 0 : hits / flagged,
    recall: positives === 0 ? 0 : hits / positives,
    f1: flagged + positives === 0 ? 0 : (2 * hits) / (flagged + positives),
    flagged,
  }
}

/** What needs no order: one pass over the rows, without a call for each, since reports measure the same rows in many groups. */
function rowByRow(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  { rows, weights = null }: MeasureOptions,
  bins: number,
): Pick<Measures, 'logLoss' | 'brier' | 'calibrationError'> {
  requireOneEach(labels, scores, weights)
  assert(Number.isInteger(bins) && bins > 0, `${bins} bins, expected at least 1`)
  const count = rows?.length ?? labels.length
  const gaps = new Float64Array(bins)
  let total = 0
  let losses = 0
  let squares = 0
  for (let at = 0; at < count; at++) {
    const row = rows ? rows[at]! : at
    const weight = weights ? weights[row]! : 1
    const [score, label] = [scores[row]!, labels[row]!]
    if (!(score >= 0 && score <= 1)) assert.fail(`score ${score} of row ${row} is not between 0 and 1`)
    const held = Math.min(Math.max(score, Number.EPSILON), 1 - Number.EPSILON)
    losses -= weight * (label === 1 ? Math.log(held) : Math.log1p(-held))
    squares += weight * (score - label) * (score - label)
    gaps[binOf(score, bins)]! += weight * (score - label)
    total += weight
  }
  const gap = gaps.reduce((sum, one) => sum + Math.abs(one), 0)
  return { logLoss: losses / total, brier: squares / total, calibrationError: gap / total }
}

/** The product may round over an edge that the score itself does not pass. */
function binOf(score: number, bins: number): number {
  const bin = Math.max(0, Math.ceil(score * bins) - 1)
  return bin > 0 && score <= bin / bins ? bin - 1 : bin
}

/** What depends on the order alone. Rows of equal score cannot be distinguished by any threshold, so they count together. */
function byRank(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  { rows = ranked(scores), weights = null }: MeasureOptions,
): Pick<Measures, 'auc' | 'averagePrecision'> {
  requireOneEach(labels, scores, weights)
  let positives = 0
  let negatives = 0
  let outranked = 0
  let precisions = 0
  for (let at = 0; at < rows.length; ) {
    const score = scores[rows[at]!]!
    let [tiedPositives, tiedNegatives] = [0, 0]
    for (; at < rows.length && scores[rows[at]!] === score; at++) {
      const row = rows[at]!
      const weight = weights ? weights[row]! : 1
      if (labels[row] === 1) tiedPositives += weight
      else tiedNegatives += weight
    }
    outranked += tiedNegatives * (positives + tiedPositives / 2)
    positives += tiedPositives
    negatives += tiedNegatives
    if (tiedPositives > 0) precisions += tiedPositives * (positives / (positives + negatives))
  }
  return {
    auc: outranked / (positives * negatives),
    averagePrecision: positives === 0 ? 0 : precisions / positives,
  }
}

function requireOneEach(labels: ArrayLike<number>, scores: ArrayLike<number>, weights: ArrayLike<number> | null): void {
  assert(labels.length === scores.length, `${labels.length} labels for ${scores.length} scores`)
  assert(weights === null || weights.length === scores.length, `${weights?.length} weights for ${scores.length} scores`)
}
