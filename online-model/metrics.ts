/**
 * Labels and scores in, measures of a model out, defined as in scikit-learn; called by the trainer on what it has
 * fitted.
 */
import assert from 'node:assert/strict'

/** Labels are 0 or 1, scores are probabilities of 1; both have one entry a row. */
export interface Measures {
  readonly logLoss: number
  readonly auc: number
  readonly averagePrecision: number
}

export function measure(labels: ArrayLike<number>, scores: ArrayLike<number>): Measures {
  const order = descending(scores)
  return {
    logLoss: logLoss(labels, scores),
    auc: rocAuc(labels, scores, order),
    averagePrecision: averagePrecision(labels, scores, order),
  }
}

/**
 * Mean of −log p(label); scores of exactly 0 and 1 are held off by one rounding unit, so that one sure mistake is not
 * infinite.
 */
export function logLoss(labels: ArrayLike<number>, scores: ArrayLike<number>): number {
  assert(labels.length === scores.length, `${labels.length} labels for ${scores.length} scores`)
  let sum = 0
  for (let row = 0; row < labels.length; row++) {
    const score = Math.min(Math.max(scores[row]!, Number.EPSILON), 1 - Number.EPSILON)
    sum -= labels[row] === 1 ? Math.log(score) : Math.log1p(-score)
  }
  return sum / labels.length
}

/** Chance that a positive outranks a negative, ties counting half. NaN where there is only one class. */
export function rocAuc(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  order: Uint32Array = descending(scores),
): number {
  let positives = 0
  let negatives = 0
  let outranked = 0
  forEachTie(labels, scores, order, (tiedPositives, tiedNegatives) => {
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
  order: Uint32Array = descending(scores),
): number {
  let positives = 0
  let seen = 0
  let sum = 0
  forEachTie(labels, scores, order, (tiedPositives, tiedNegatives) => {
    positives += tiedPositives
    seen += tiedPositives + tiedNegatives
    sum += tiedPositives * (positives / seen)
  })
  return positives === 0 ? 0 : sum / positives
}

/** Row numbers by falling score. */
function descending(scores: ArrayLike<number>): Uint32Array {
  const order = Uint32Array.from(scores, (score, row) => {
    if (Number.isNaN(score)) assert.fail(`score of row ${row} is not a number`)
    return row
  })
  return order.sort((a, b) => scores[b]! - scores[a]!)
}

/** Rows of equal score cannot be told apart by any threshold, so they are handed on together. */
function forEachTie(
  labels: ArrayLike<number>,
  scores: ArrayLike<number>,
  order: Uint32Array,
  take: (positives: number, negatives: number) => void,
): void {
  assert(labels.length === scores.length, `${labels.length} labels for ${scores.length} scores`)
  for (let at = 0; at < order.length; ) {
    const score = scores[order[at]!]!
    let [positives, negatives] = [0, 0]
    for (; at < order.length && scores[order[at]!] === score; at++) {
      if (labels[order[at]!] === 1) positives++
      else negatives++
    }
    take(positives, negatives)
  }
}
