import { describe, expect, test } from 'vitest'
import { averagePrecision, logLoss, measure, rocAuc } from '../../online-model/metrics.ts'

/** Expected values from scikit-learn 1.9.1: roc_auc_score, average_precision_score, log_loss. */
const references = [
  {
    name: 'its own example',
    labels: [0, 0, 1, 1],
    scores: [0.1, 0.4, 0.35, 0.8],
    auc: 0.75,
    ap: 0.8333333333333333,
    loss: 0.47228795380917615,
  },
  {
    name: 'ties within and across classes',
    labels: [0, 1, 1, 0, 1, 0, 0, 1, 0, 0],
    scores: [0.1, 0.4, 0.4, 0.4, 0.9, 0.2, 0.9, 0.2, 0.05, 0.7],
    auc: 0.625,
    ap: 0.5,
    loss: 0.7944560774285795,
  },
  {
    name: 'one score for all',
    labels: [0, 1, 0, 1],
    scores: [0.5, 0.5, 0.5, 0.5],
    auc: 0.5,
    ap: 0.5,
    loss: Math.LN2,
  },
]

describe('metrics', () => {
  test.each(references)('agree with scikit-learn: $name', ({ labels, scores, auc, ap, loss }) => {
    expect(rocAuc(labels, scores)).toBeCloseTo(auc, 14)
    expect(averagePrecision(labels, scores)).toBeCloseTo(ap, 14)
    expect(logLoss(labels, scores)).toBeCloseTo(loss, 14)
    expect(measure(labels, scores)).toEqual({
      logLoss: logLoss(labels, scores),
      auc: rocAuc(labels, scores),
      averagePrecision: averagePrecision(labels, scores),
    })
  })

  test('do not depend on the order of the rows', () => {
    const { labels, scores } = references[1]!
    expect(measure(labels.toReversed(), scores.toReversed()).averagePrecision).toBe(averagePrecision(labels, scores))
    expect(rocAuc(labels.toReversed(), scores.toReversed())).toBe(rocAuc(labels, scores))
  })

  test('a sure mistake costs much, not everything', () => {
    expect(logLoss([1, 0, 1], [1, 0, 0])).toBeCloseTo(12.014551129705717, 12)
  })

  test('one class has no ranking', () => {
    expect(rocAuc([0, 0], [0.1, 0.2])).toBeNaN()
    expect(averagePrecision([0, 0], [0.1, 0.2])).toBe(0)
    expect(averagePrecision([1, 1], [0.1, 0.2])).toBe(1)
  })

  test('refuse scores that are missing', () => {
    expect(() => rocAuc([0, 1], [0.1, Number.NaN])).toThrow('score of row 1 is not a number')
    expect(() => logLoss([0, 1], [0.1])).toThrow('2 labels for 1 scores')
  })
})
