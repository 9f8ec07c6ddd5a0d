/** The bounds of a paired difference: the same for a seed, wider for correlated rows, and with the stated coverage. */
import { describe, expect, test } from 'vitest'
import { averagePrecision } from '../../online-model/evaluation/metrics.ts'
import { type EvaluationRows, metrics, pairedGain } from '../../online-model/evaluation/paired-bootstrap.ts'
import { createRandom } from '../../online-model/models/random.ts'
import { qualityMetrics } from '../../schemas/models/quality-metrics.ts'

/** Labels by a known probability, and scores that see it through noise of the given deviations. */
function drawn(seed: number, count: number, noises: readonly number[]) {
  const random = createRandom(seed)
  const labels = new Uint8Array(count)
  const scores = noises.map(() => new Float64Array(count))
  for (let row = 0; row < count; row++) {
    const odds = 2 * random.normal() - 1.5
    labels[row] = random.next() < 1 / (1 + Math.exp(-odds)) ? 1 : 0
    for (const [i, noise] of noises.entries()) scores[i]![row] = 1 / (1 + Math.exp(-odds - noise * random.normal()))
  }
  const rows: EvaluationRows = { labels, weights: null, blocks: null }
  return { rows, scores }
}

const options = { metric: 'averagePrecision', seed: 5, iterations: 200, confidence: 0.95 } as const

describe('the paired gain', () => {
  test.each(qualityMetrics)('of %s is positive for the better model, and turns with the models', (metric) => {
    const { rows, scores } = drawn(1, 2_000, [0.2, 1.5])
    const gain = pairedGain(rows, scores[0]!, scores[1]!, { ...options, metric })
    expect(gain.value).toBeCloseTo(metrics[metric].of(rows.labels, scores[0]!, {}), 12)
    expect(gain.gain).toBeGreaterThan(0)
    expect(gain.lower).toBeGreaterThan(0)
    expect(gain.upper).toBeGreaterThan(gain.gain)
    const turned = pairedGain(rows, scores[1]!, scores[0]!, { ...options, metric })
    expect(turned.gain).toBe(-gain.gain)
    expect(turned.lower).toBeCloseTo(-gain.upper, 12)
  })

  test('is the same for the same seed, and of nothing where the models are one', () => {
    const { rows, scores } = drawn(2, 500, [0.5, 0.7])
    const one = pairedGain(rows, scores[0]!, scores[1]!, options)
    expect(pairedGain(rows, scores[0]!, scores[1]!, options)).toEqual(one)
    expect(pairedGain(rows, scores[0]!, scores[1]!, { ...options, seed: 6 }).lower).not.toBe(one.lower)
    expect(pairedGain(rows, scores[0]!, scores[0]!, options)).toMatchObject({ gain: 0, lower: 0, upper: 0 })
  })

  test('is narrower than the bounds of the two by themselves: they share the luck of the rows', () => {
    const { rows, scores } = drawn(3, 1_000, [0.3, 0.4])
    const paired = pairedGain(rows, scores[0]!, scores[1]!, options)
    // Against a constant, which has no luck of its own.
    const alone = pairedGain(rows, scores[0]!, new Float64Array(rows.labels.length), options)
    expect(alone.value).toBe(averagePrecision(rows.labels, scores[0]!))
    expect(paired.upper - paired.lower).toBeLessThan((alone.upper - alone.lower) / 2)
  })

  test('does not take what one entity does ten times for ten witnesses', () => {
    const { rows, scores } = drawn(4, 300, [0.3, 0.8])
    const times = 10
    const repeat = <T extends ArrayLike<number>>(list: T) =>
      Float64Array.from({ length: list.length * times }, (_, i) => list[Math.floor(i / times)]!)
    const labels = Uint8Array.from(repeat(rows.labels))
    const blocks = Int32Array.from({ length: labels.length }, (_, i) => Math.floor(i / times))
    const once = pairedGain(rows, scores[0]!, scores[1]!, options)
    const [a, b] = [repeat(scores[0]!), repeat(scores[1]!)]
    const together = pairedGain({ labels, weights: null, blocks }, a, b, options)
    expect(together.lower).toBeCloseTo(once.lower, 12)
    expect(together.upper).toBeCloseTo(once.upper, 12)
    const apart = pairedGain({ labels, weights: null, blocks: null }, a, b, options)
    expect(apart.upper - apart.lower).toBeLessThan((once.upper - once.lower) / 2)
    // A weight of ten is ten rows of one entity.
    const weighted = pairedGain(
      { ...rows, weights: new Float64Array(300).fill(times) },
      scores[0]!,
      scores[1]!,
      options,
    )
    expect(weighted.lower).toBeCloseTo(once.lower, 12)
  })

  test('covers the true gain at its confidence level', () => {
    // The two models are equally good, so that the true gain is 0.
    const trials = 200
    let above = 0
    let below = 0
    for (let seed = 0; seed < trials; seed++) {
      const { rows, scores } = drawn(1_000 + seed, 400, [0.8, 0.8])
      const { lower, upper } = pairedGain(rows, scores[0]!, scores[1]!, {
        ...options,
        iterations: 100,
        confidence: 0.9,
        seed,
      })
      if (lower > 0) above++
      if (upper < 0) below++
    }
    // 20 each are expected; 7 to 35 are three and a half deviations.
    for (const misses of [above, below]) {
      expect(misses).toBeGreaterThanOrEqual(7)
      expect(misses).toBeLessThanOrEqual(35)
    }
  })

  test('has no bounds where every resample is of one class', () => {
    const rows = { labels: [1, 1], weights: null, blocks: null }
    expect(pairedGain(rows, [0.1, 0.2], [0.3, 0.4], options)).toMatchObject({ lower: Number.NaN, upper: Number.NaN })
  })
})
