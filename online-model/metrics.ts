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

/** Bins of equal width that `measure` and `calibrationError` use unless told. */
export const calibrationBins = 10

export function measure(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): Measures {
  const ordered = { ...options, rows: options.rows ?? ranked(scores) }
  return {
    logLoss: logLoss(labels, scores, ordered),
    auc: rocAuc(labels, scores, ordered),
    averagePrecision: averagePrecision(labels, scores, ordered),
    brier: brier(labels, scores, ordered),
    calibrationError: calibrationError(labels, scores, ordered),
  }
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
  return weightedMean(labels, scores, options, (label, given) => {
    const score = Math.min(Math.max(given, Number.EPSILON), 1 - Number.EPSILON)
    return label === 1 ? -Math.log(score) : -Math.log1p(-score)
  })
}

export function brier(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): number {
  return weightedMean(labels, scores, options, (label, score) => (score - label) ** 2)
}

/** Chance that a positive outranks a negative, ties counting half. NaN where there is only one class. */
export function rocAuc(labels: ArrayLike<number>, scores: ArrayLike<number>, options: MeasureOptions = {}): number {
  let positives = 0
  let negatives = 0
  let outranked = 0
  forEachTie(labels, scores, options, (tiedPositives, tiedNegatives) => {
    outranked += tiedNegatives * (positives + tiedPositives / 2)
    positives += tiedPositives
    negatives += tiedNegatives
  })
  return outranked / (positives * negatives)
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
  let positives = 0
  let seen = 0
  let sum = 0
  forEachTie(labels, scores, options, (tiedPositives, tiedNegatives) => {
    positives += tiedPositives
    seen += tiedPositives + tiedNegatives
    if (tiedPositives > 0) sum += tiedPositives * (positives / seen)
  })
  return positives === 0 ? 0 : sum / positives
}

/**
 * Expected calibration error: by how much the mean score and the share of positives lie apart, in the mean over bins of equal width
 * (each without its lower edge, the first with 0), weighted by what lies in them. Scores lie in [0, 1].
 */
export function calibrationError(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options: MeasureOptions & { readonly bins?: number } = {},
): number {
  const { bins = calibrationBins } = options
  assert(Number.isInteger(bins) && bins > 0, `${bins} bins, expected at least 1`)
  const gaps = new Float64Array(bins)
  let total = 0
  forEachRow(labels, scores, options, (label, score, weight) => {
    if (!(score >= 0 && score <= 1)) assert.fail(`score ${score} is not between 0 and 1`)
    gaps[binOf(score, bins)]! += weight * (score - label)
    total += weight
  })
  return gaps.reduce((sum, gap) => sum + Math.abs(gap), 0) / total
}

/** The product may round over an edge that the score itself does not pass. */
function binOf(score: number, bins: number): number {
  const bin = Math.max(0, Math.ceil(score * bins) - 1)
  return bin > 0 && score <= bin / bins ? bin - 1 : bin
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
  let positives = 0
  let flagged = 0
  let hits = 0
  forEachRow(labels, scores, options, (label, score, weight) => {
    if (label === 1) positives += weight
    if (score < threshold) return
    flagged += weight
    if (label === 1) hits += weight
  })
  return {
    precision: flagged === 0 ? 0 : hits / flagged,
    recall: positives === 0 ? 0 : hits / positives,
    f1: flagged + positives === 0 ? 0 : (2 * hits) / (flagged + positives),
    flagged,
  }
}

function weightedMean(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  options: MeasureOptions,
  of: (label: number, score: number) => number,
): number {
  let sum = 0
  let total = 0
  forEachRow(labels, scores, options, (label, score, weight) => {
    sum += weight * of(label, score)
    total += weight
  })
  return sum / total
}

function forEachRow(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  { rows, weights = null }: MeasureOptions,
  take: (label: number, score: number, weight: number) => void,
): void {
  requireOneEach(labels, scores, weights)
  const count = rows?.length ?? labels.length
  for (let at = 0; at < count; at++) {
    const row = rows ? rows[at]! : at
    take(labels[row]!, scores[row]!, weights ? weights[row]! : 1)
  }
}

/** Rows of equal score cannot be told apart by any threshold, so they are handed on together. */
function forEachTie(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  { rows = ranked(scores), weights = null }: MeasureOptions,
  take: (positives: number, negatives: number) => void,
): void {
  requireOneEach(labels, scores, weights)
  for (let at = 0; at < rows.length; ) {
    const score = scores[rows[at]!]!
    let [positives, negatives] = [0, 0]
    for (; at < rows.length && scores[rows[at]!] === score; at++) {
      const row = rows[at]!
      const weight = weights ? weights[row]! : 1
      if (labels[row] === 1) positives += weight
      else negatives += weight
    }
    take(positives, negatives)
  }
}

function requireOneEach(labels: ArrayLike<number>, scores: ArrayLike<number>, weights: ArrayLike<number> | null): void {
  assert(labels.length === scores.length, `${labels.length} labels for ${scores.length} scores`)
  assert(weights === null || weights.length === scores.length, `${weights?.length} weights for ${scores.length} scores`)
}
