/** What is promoted and what is not, by the sentences that the registry keeps. */
import { describe, expect, test } from 'vitest'
import { evaluateCandidate, type GateInput } from '../../online-model/evaluation/gates.ts'
import { shouldRollBack } from '../../online-model/evaluation/rollback-check.ts'
import { scoringLatency } from '../../online-model/evaluation/scoring-latency.ts'
import { createRandom } from '../../online-model/models/random.ts'

const count = 2_000
/** Well-calibrated scores, worse ones the noisier. */
function drawn(seed: number) {
  const random = createRandom(seed)
  const labels = new Uint8Array(count)
  const odds = Float64Array.from({ length: count }, () => 2 * random.normal() - 2)
  for (let row = 0; row < count; row++) labels[row] = random.next() < 1 / (1 + Math.exp(-odds[row]!)) ? 1 : 0
  const noisy = (noise: number) => odds.map((one) => 1 / (1 + Math.exp(-one - noise * random.normal())))
  return { rows: { labels, weights: null, blocks: null }, good: noisy(0.1), fair: noisy(0.8), poor: noisy(1.5) }
}

const { rows, good, fair, poor } = drawn(7)

function input(scores: ArrayLike<number>, more: Partial<GateInput['candidate']> = {}): GateInput {
  return {
    rows,
    candidate: {
      version: 'v2',
      scores,
      latency: { p50Us: 1, p99Us: 4 },
      recordBytes: 900,
      wasRolledBack: false,
      ...more,
    },
    champion: { version: 'v1', scores: fair },
    metric: 'averagePrecision',
    seed: 3,
  }
}

describe('the gate', () => {
  test('promotes what is better beyond doubt, and reports by how much', () => {
    const { promote, reasons, measures } = evaluateCandidate(input(good))
    expect(promote, reasons.join(' ')).toBe(true)
    expect(reasons[0]).toMatch(
      /^v2 is 0\.0\d+ better than v1 in averagePrecision \(0\.\d+ against 0\.\d+\), with 90 % confidence at least 0\.0\d+ and at/,
    )
    expect(reasons[1]).toMatch(/^Its calibration error is 0\.0\d+, 0\.05 is allowed\.$/)
    expect(measures).toMatchObject({ rows: count, recordBytes: 900, latencyP50Us: 1, latencyP99Us: 4 })
    expect(measures.gain).toBeCloseTo(
      measures['candidate.averagePrecision']! - measures['champion.averagePrecision']!,
      12,
    )
    expect(evaluateCandidate(input(good))).toEqual({ promote, reasons, measures })
  })

  test('rejects what is worse, what is the same, and what may as well be the same', () => {
    expect(evaluateCandidate(input(poor))).toMatchObject({
      promote: false,
      reasons: [expect.stringMatching(/^v2 is 0\.\d+ worse than v1 .*; it must be above 0\.$/), expect.anything()],
    })
    expect(evaluateCandidate(input(fair))).toMatchObject({ promote: false, measures: { gain: 0, gainLower: 0 } })
    const hardly = fair.map((score, row) => (row === 10 ? score / 2 : score))
    expect(evaluateCandidate(input(hardly)).promote).toBe(false)
    // On request, not worse is enough.
    expect(evaluateCandidate({ ...input(fair), limits: { gainMin: -0.01 } }).promote).toBe(true)
  })

  test('rejects scores without information, without measuring them', () => {
    const broken = good.map((score, row) => (row === 3 ? Number.NaN : row === 4 ? 1.5 : score))
    expect(evaluateCandidate(input(broken))).toMatchObject({
      promote: false,
      reasons: ['v2 gives 2 of 2000 rows no score between 0 and 1.'],
    })
    const constant = evaluateCandidate(input(good.map(() => 0.1)))
    expect(constant.reasons).toContain('v2 gives every row the same score.')
    const saturated = evaluateCandidate(input(good.map((score, row) => (row < 5 ? score : 0))))
    expect(saturated.reasons).toContain('v2 gives 1995 of 2000 rows the same score; 99 % of them are allowed.')
    expect(saturated.measures.distinctScores).toBe(6)
  })

  test('rejects a miscalibrated model that ranks better, unless the champion is calibrated worse', () => {
    // Ranks stay, probabilities do not.
    const shifted = good.map((score) => Math.sqrt(score))
    const { promote, reasons } = evaluateCandidate(input(shifted))
    expect(promote).toBe(false)
    expect(reasons).toEqual([expect.stringMatching(/^The calibration error of v2 is 0\.\d+; 0\.05 is allowed\.$/)])
    const worse = fair.map((score) => score ** 0.25)
    expect(evaluateCandidate({ ...input(shifted), champion: { version: 'v1', scores: worse } }).promote).toBe(true)
  })

  test('names everything that is wrong at once', () => {
    const few = { labels: rows.labels.map((_, row) => (row < 5 ? 1 : 0)), weights: null, blocks: null }
    const wrong = { latency: { p50Us: 200, p99Us: 5_000 }, recordBytes: 2_000_000, wasRolledBack: true }
    expect(evaluateCandidate({ ...input(good, wrong), rows: few })).toEqual({
      promote: false,
      reasons: [
        'v2 was rolled back; only a command promotes it again.',
        'The record of v2 takes 2000000 bytes, more than 1000000.',
        'v2 scores half of the vectors within 200 µs; 100 are allowed.',
        'v2 scores 99 % of the vectors within 5000 µs; 1000 are allowed.',
        'The later rows hold 5 positives and 1995 negatives; 30 and 30 are needed to decide.',
      ],
      measures: expect.objectContaining({ positives: 5, negatives: 1_995, latencyP99Us: 5_000 }),
    })
    const none = { labels: [], weights: null, blocks: null }
    const empty = evaluateCandidate({ ...input([]), rows: none, champion: null })
    expect(empty.promote).toBe(false)
  })

  test('without a champion requires better than the best constant', () => {
    const first = evaluateCandidate({ ...input(good), champion: null, metric: 'logLoss' })
    expect(first.promote).toBe(true)
    expect(first.reasons[0]).toMatch(/^v2 is 0\.\d+ better than the best constant in logLoss/)
    const random = createRandom(9)
    const noise = evaluateCandidate({ ...input(good.map(() => random.next())), champion: null })
    expect(noise.promote).toBe(false)
    expect(noise.reasons[0]).toMatch(/the best constant in averagePrecision/)
  })

  test('weights represent the rows that were sampled away', () => {
    // Every negative kept represents four: a model calibrated to all of them is calibrated to these, weighted.
    const odds = 4
    const kept = Array.from({ length: count }, (_, row) => row).filter(
      (row) => rows.labels[row] === 1 || row % odds === 0,
    )
    const pick = (list: ArrayLike<number>) => Float64Array.from(kept, (row) => list[row]!)
    const labels = Uint8Array.from(pick(rows.labels))
    const weights = Float64Array.from(labels, (label) => (label === 1 ? 1 : odds))
    const evaluated = (sampled: Float64Array | null) =>
      evaluateCandidate({
        ...input(pick(good)),
        rows: { labels, weights: sampled, blocks: null },
        champion: { version: 'v1', scores: pick(fair) },
      }).measures['candidate.calibrationError']!
    expect(evaluated(weights)).toBeLessThan(0.05)
    expect(evaluated(null)).toBeGreaterThan(0.1)
  })
})

describe('a rollback', () => {
  const now = (champion: ArrayLike<number>, former: ArrayLike<number> | null) =>
    shouldRollBack({
      rows,
      champion: { version: 'v2', scores: champion },
      former: former && { version: 'v1', scores: former },
      metric: 'averagePrecision',
      seed: 1,
    })

  test('is due where the former champion does better on the same rows beyond doubt', () => {
    const worse = now(poor, fair)
    expect(worse.rollBack).toBe(true)
    expect(worse.reasons[0]).toMatch(/^v2 is 0\.\d+ worse than v1 in averagePrecision .* with 99 % confidence/)
    expect(now(good, fair).rollBack).toBe(false)
    expect(now(fair, fair).rollBack).toBe(false)
    // The world may have changed for both.
    expect(now(poor, poor).rollBack).toBe(false)
    expect(now(poor, null)).toMatchObject({
      rollBack: false,
      reasons: [expect.stringMatching(/^v2 has no shadow scores/)],
    })
  })

  test('waits for labels', () => {
    const few = { labels: rows.labels.map((_, row) => (row < 5 ? 1 : 0)), weights: null, blocks: null }
    const decision = shouldRollBack({
      rows: few,
      champion: { version: 'v2', scores: poor },
      former: { version: 'v1', scores: good },
      metric: 'auc',
      seed: 1,
    })
    expect(decision).toMatchObject({
      rollBack: false,
      reasons: [
        'Since the promotion of v2 5 positives and 1995 negatives have matured; 30 and 30 are needed to decide.',
      ],
    })
  })
})

test('the scoring time is that of the quickest round, by the clock that is handed in', () => {
  let nowUs = 0
  let calls = 0
  const score = (vector: ArrayLike<number>) => {
    // One of a hundred is slow, and so is the whole second counted round.
    const round = Math.floor(calls / 100)
    nowUs += (calls++ % 100 === 7 ? 50 : 2) * (round === 4 ? 9 : 1)
    return vector[0]!
  }
  const latency = scoringLatency(score, { rows: new Float64Array(300), width: 3 }, () => nowUs)
  expect(latency).toEqual({ p50Us: 2, p99Us: 50 })
  expect(scoringLatency(score, { rows: new Float64Array(0), width: 3 }, () => nowUs).p50Us).toBeNaN()
})
