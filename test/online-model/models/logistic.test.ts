import { describe, expect, test } from 'vitest'
import { fitLogistic, logisticScoring } from '../../../online-model/models/logistic.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'

const features = ['a', 'b', 'c', 'd']

/**
 * 200 rows × 4 from the minimal standard generator s ← 16807·s mod (2^31 − 1), s = 20240501, u = s / (2^31 − 1), in
 * this order of draws.
 */
function rowsByFormula(missing: boolean) {
  let s = 20240501
  const u = (): number => {
    s = (s * 16807) % 2147483647
    return s / 2147483647
  }
  const rows: number[] = []
  const labels: number[] = []
  for (let row = 0; row < 200; row++) {
    const a = u() * 10 - 5
    const b = 100 * u() ** 2
    const c = u() < 0.3 ? 1 : 0
    const d = 1000 + u()
    labels.push(u() < 1 / (1 + Math.exp(-(-1 + 0.6 * a - 0.02 * b + 1.2 * c))) ? 1 : 0)
    rows.push(a, missing && row % 17 === 0 ? Number.NaN : b, c, missing && row % 5 === 0 ? Number.NaN : d)
  }
  return { rows: Float64Array.from(rows), labels: Uint8Array.from(labels), rowCount: 200, weights: null }
}

/**
 * From scikit-learn 1.9.1: StandardScaler, missing set to 0 after it, LogisticRegression(C, solver='newton-cholesky',
 * tol=1e-12).
 */
const references = [
  {
    missing: false,
    c: 1,
    means: [-0.0861900301353028, 30.3790082097718, 0.325, 1000.510907868178],
    scales: [2.85637891188582, 29.12172566728809, 0.4683748498798803, 0.28054076079855456],
    weights: [1.6578240305937648, -0.6885420705277799, 0.4701732985875815, 0.04041728742428842],
    intercept: -1.052533195356671,
    scores: [0.19658450099300387, 0.33130603253637597, 0.03733184586805474],
  },
  {
    missing: true,
    c: 0.1,
    means: [-0.0861900301353028, 30.869875625088, 0.325, 1000.5139652851715],
    scales: [2.85637891188582, 29.45260562597915, 0.4683748498798803, 0.27880313463973644],
    weights: [1.137669795697673, -0.4690296297090436, 0.27956373091633685, -0.02127157154623217],
    intercept: -0.85832461225621,
    scores: [0.31410052700248753, 0.3564825559836761, 0.08440921432989872],
  },
  {
    missing: false,
    c: 1000,
    means: [-0.0861900301353028, 30.3790082097718, 0.325, 1000.510907868178],
    scales: [2.85637891188582, 29.12172566728809, 0.4683748498798803, 0.28054076079855456],
    weights: [1.7828650294281045, -0.7506040491748011, 0.5226774151561793, 0.04645847635988243],
    intercept: -1.1044523733073066,
    scores: [0.1868459753438774, 0.32281278786938805, 0.02995241024490426],
  },
]

describe('fitLogistic', () => {
  test.each(references)('agrees with scikit-learn: missing $missing, C $c', async (reference) => {
    const training = rowsByFormula(reference.missing)
    const fit = await fitLogistic({ ...training, features, l2: 1 / reference.c, iterationsMax: 100 })
    expect(fit.converged).toBe(true)
    expect(fit.iterations).toBeLessThan(12)
    const { means, scales, weights, intercept } = fit.weights
    for (let i = 0; i < features.length; i++) {
      expect(means[i]).toBeCloseTo(reference.means[i]!, 9)
      expect(scales[i]).toBeCloseTo(reference.scales[i]!, 9)
      expect(weights[i]).toBeCloseTo(reference.weights[i]!, 7)
    }
    expect(intercept).toBeCloseTo(reference.intercept, 7)
    const score = logisticScoring(fit.weights).predict
    reference.scores.forEach((expected, row) => {
      expect(score(training.rows.subarray(row * 4, row * 4 + 4))).toBeCloseTo(expected, 7)
    })
  })

  test('leaves its rows as they are and gives the same bits again', async () => {
    const training = rowsByFormula(true)
    const first = await fitLogistic({ ...training, features, l2: 1, iterationsMax: 100 })
    expect(training.rows).toEqual(rowsByFormula(true).rows)
    expect(await fitLogistic({ ...training, features, l2: 1, iterationsMax: 100 })).toEqual(first)
  })

  test('a constant column and one that is missing throughout get weight 0, also without a penalty', async () => {
    const { labels, rowCount, rows } = rowsByFormula(false)
    const wide = Float64Array.from({ length: rowCount * 3 }, (_, at) => {
      if (at % 3 === 0) return rows[Math.floor(at / 3) * 4]!
      return at % 3 === 1 ? 0.1 : Number.NaN
    })
    for (const l2 of [0, 1]) {
      const { weights, converged } = await fitLogistic({
        rows: wide,
        labels,
        rowCount,
        features: ['a', 'constant', 'absent'],
        weights: null,
        l2,
        iterationsMax: 100,
      })
      expect(converged).toBe(true)
      expect(weights.scales.slice(1)).toEqual([1, 1])
      expect(weights.weights[0]).toBeGreaterThan(1)
      expect(weights.weights[1]).toBeCloseTo(0, 9)
      expect(weights.weights[2]).toBeCloseTo(0, 9)
    }
  })

  test('separable rows converge with a penalty, and rare positives too', async () => {
    const rowCount = 10_000
    const rows = Float64Array.from({ length: rowCount }, (_, row) => (row >= rowCount - 3 ? row + 20_000 : row))
    const labels = Uint8Array.from({ length: rowCount }, (_, row) => (row >= rowCount - 3 ? 1 : 0))
    const fit = await fitLogistic({
      rows,
      labels,
      rowCount,
      features: ['a'],
      weights: null,
      l2: 1e-6,
      iterationsMax: 100,
    })
    expect(fit.converged).toBe(true)
    const score = logisticScoring(fit.weights).predict
    expect(score([rowCount + 20_000])).toBeGreaterThan(0.99)
    expect(score([rowCount])).toBeLessThan(0.01)
  })

  test('a row that represents three is three rows', async () => {
    const { rows, labels, rowCount } = rowsByFormula(true)
    const times = Array.from({ length: rowCount }, (_, row) => 1 + (row % 3))
    const repeated = times.flatMap((count, row) => Array.from({ length: count }, () => row))
    const each = await fitLogistic({
      rows: Float64Array.from(repeated.flatMap((row) => [...rows.subarray(row * 4, row * 4 + 4)])),
      labels: Uint8Array.from(repeated, (row) => labels[row]!),
      rowCount: repeated.length,
      features,
      weights: null,
      l2: 1,
      iterationsMax: 100,
    })
    const weights = Float64Array.from(times)
    const weighted = await fitLogistic({ rows, labels, rowCount, features, weights, l2: 1, iterationsMax: 100 })
    for (const name of ['means', 'scales', 'weights'] as const) {
      weighted.weights[name].forEach((value, i) => {
        expect(value).toBeCloseTo(each.weights[name][i]!, 8)
      })
    }
    expect(weighted.weights.intercept).toBeCloseTo(each.weights.intercept, 8)
  })

  test('reports it when the iterations were too few', async () => {
    const fit = await fitLogistic({ ...rowsByFormula(false), features, l2: 1, iterationsMax: 1 })
    expect(fit).toMatchObject({ iterations: 1, converged: false })
  })

  test.each([
    ['no rows', 0, 0],
    ['negatives only', 4, 0],
    ['positives only', 4, 4],
  ])('refuses %s with the counts', async (_, rowCount, positives) => {
    const labels = Uint8Array.from({ length: rowCount }, (_unused, row) => (row < positives ? 1 : 0))
    const rows = new Float64Array(rowCount)
    const training = { rows, labels, rowCount, features: ['a'], weights: null, l2: 1, iterationsMax: 10 }
    const message =
      `A logistic model needs labelled rows of both classes, but got ${rowCount} rows with ${positives} positives ` +
      `and ${rowCount - positives} negatives.`
    await expect(fitLogistic(training)).rejects.toThrow(
      new PipelineError('model_untrainable', message, { details: { rows: rowCount, positives } }),
    )
  })

  test('rejects values too large to standardise, naming the feature', async () => {
    const labels = Uint8Array.of(0, 1)
    const training = { labels, rowCount: 2, features: ['a', 'huge'], weights: null, l2: 1, iterationsMax: 10 }
    await expect(fitLogistic({ ...training, rows: Float64Array.of(1, 1e200, 2, -1e200) })).rejects.toThrow(
      /^Feature huge has values too large to be standardised/,
    )
    const infinite = Float64Array.of(1, 1, 2, Number.POSITIVE_INFINITY)
    await expect(fitLogistic({ ...training, rows: infinite })).rejects.toThrow('feature huge of row 1 is Infinity')
  })
})
