/** The measures against those of scikit-learn on fixed rows (`fixtures/make-metrics.py`), and against what they mean where it has none. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import {
  atThreshold,
  averagePrecision,
  calibrationError,
  logLoss,
  measure,
  ranked,
  rocAuc,
} from '../../online-model/evaluation/metrics.ts'
import { precisionAtK } from '../../online-model/evaluation/precision-at-k.ts'
import { createRandom } from '../../testing/random.ts'

interface Case {
  readonly name: string
  readonly labels: number[]
  readonly scores: number[]
  readonly weights: number[] | null
  readonly threshold: number
  readonly bins: number
  readonly expected: Readonly<Record<string, number>>
}

interface Cards {
  readonly k: number
  readonly day: number[]
  readonly key: number[]
  readonly label: number[]
  readonly score: number[]
  readonly expected: { readonly mean: number; readonly precisions: number[]; readonly positives: number[] }
}

const fixture = JSON.parse(readFileSync(new URL('fixtures/metrics.json', import.meta.url), 'utf8')) as {
  readonly cases: readonly Case[]
  readonly cards: readonly Cards[]
}

describe('measures', () => {
  test.each(fixture.cases)('agree with scikit-learn: $name', (one) => {
    const { labels, scores, weights, threshold, bins, expected } = one
    const received: Record<string, number> = {
      ...measure(labels, scores, { weights }),
      calibrationError: calibrationError(labels, scores, { weights, bins }),
      ...atThreshold(labels, scores, threshold, { weights }),
    }
    for (const [name, value] of Object.entries(expected)) {
      expect(Math.abs(received[name]! - value), `${name}: ${received[name]}, expected ${value}`).toBeLessThan(1e-12)
    }
  })

  test('do not depend on the order of the rows', () => {
    const { labels, scores } = fixture.cases[1]!
    expect(averagePrecision(labels.toReversed(), scores.toReversed())).toBe(averagePrecision(labels, scores))
    expect(rocAuc(labels.toReversed(), scores.toReversed())).toBe(rocAuc(labels, scores))
  })

  test('of some rows are those of these rows alone', () => {
    for (const { labels, scores, weights } of fixture.cases.filter((one) => one.labels.length > 100)) {
      const isIn = (row: number) => row % 3 !== 0
      const only = <T>(list: readonly T[]) => list.filter((_, row) => isIn(row))
      const alone = { weights: weights && only(weights) }
      const within = { weights, rows: ranked(scores).filter(isIn) }
      const [expected, received] = [measure(only(labels), only(scores), alone), measure(labels, scores, within)]
      for (const name of Object.keys(expected) as Array<keyof typeof expected>) {
        expect(received[name]).toBeCloseTo(expected[name], 13)
      }
      expect(atThreshold(labels, scores, 0.3, within).f1).toBeCloseTo(
        atThreshold(only(labels), only(scores), 0.3, alone).f1,
        13,
      )
    }
  })

  test('a sure mistake costs much, not everything', () => {
    expect(logLoss([1, 0, 1], [1, 0, 0])).toBeCloseTo(12.014551129705717, 12)
  })

  test('one class has no ranking', () => {
    expect(rocAuc([0, 0], [0.1, 0.2])).toBeNaN()
    expect(averagePrecision([0, 0], [0.1, 0.2])).toBe(0)
    expect(averagePrecision([1, 1], [0.1, 0.2])).toBe(1)
  })

  test('a score on an edge is in the bin that ends there, however the product rounds', () => {
    // 0.07 · 100 is 7.000000000000001.
    expect(calibrationError([0, 1], [0.07, 0.061], { bins: 100 })).toBeCloseTo(Math.abs(0.07 + 0.061 - 1) / 2, 15)
  })

  test('reject scores that are missing or no probabilities', () => {
    expect(() => rocAuc([0, 1], [0.1, Number.NaN])).toThrow('score of row 1 is not a number')
    expect(() => logLoss([0, 1], [0.1])).toThrow('2 labels for 1 scores')
    expect(() => logLoss([0, 1], [0.1, 0.2], { weights: [1] })).toThrow('1 weights for 2 scores')
    expect(() => calibrationError([1], [1.5])).toThrow('score 1.5 of row 0 is not between 0 and 1')
  })
})

describe('precision at k of entities and days', () => {
  test.each(fixture.cards)("is the Handbook's, k $k", ({ k, day, key, label, score, expected }) => {
    const { mean, days } = precisionAtK({ labels: label, scores: score, keys: key, days: day }, k)
    expect(mean).toBeCloseTo(expected.mean, 14)
    expect(days.map(({ precision }) => precision)).toEqual(expected.precisions)
    expect(days.map(({ positives }) => positives)).toEqual(expected.positives)
  })

  test('an entity is found by any of its events of the day, and once only', () => {
    const rows = {
      keys: [1, 1, 2, 1, 3],
      labels: [0, 1, 0, 1, 1],
      scores: [0.9, 0.1, 0.5, 0.9, 0.2],
      days: [1, 1, 1, 2, 2],
    }
    expect(precisionAtK(rows, 1)).toEqual({
      mean: 1,
      days: [
        { day: 1, precision: 1, positives: 1 },
        { day: 2, precision: 1, positives: 1 },
      ],
    })
  })

  test('an entity of weight n is n entities', () => {
    const seed = 11
    const random = createRandom(seed)
    const one = { labels: [] as number[], scores: [] as number[], keys: [] as number[], days: [] as number[] }
    const weights: number[] = []
    const many = { labels: [] as number[], scores: [] as number[], keys: [] as number[], days: [] as number[] }
    for (let key = 0; key < 200; key++) {
      const day = random.below(5)
      const weight = 1 + random.below(4)
      const [label, score] = [Number(random.next() < 0.2), random.next()]
      weights.push(weight)
      for (let copy = 0; copy < weight; copy++) {
        for (const rows of copy === 0 ? [one, many] : [many]) {
          rows.labels.push(label)
          rows.scores.push(score)
          rows.keys.push(key * 10 + copy)
          rows.days.push(day)
        }
      }
    }
    const weighted = precisionAtK(one, 20, { weights })
    expect(weighted.mean).toBeGreaterThan(0)
    expect(weighted, `seed ${seed}`).toEqual(precisionAtK(many, 20))
  })

  test('has no value without rows', () => {
    expect(precisionAtK({ labels: [], scores: [], keys: [], days: [] }, 3)).toEqual({ mean: Number.NaN, days: [] })
  })
})
