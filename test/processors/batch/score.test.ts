/** Step 5: the scores of the champion, and those of its challengers beside them. */
import { describe, expect, test } from 'vitest'
import { score } from '../../../processors/batch/score.ts'
import type { ScoringModel } from '../../../processors/batch/scoring.ts'
import { createShadowScoring } from '../../../processors/batch/shadow-scoring.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { reasonsOf } from '../../../schemas/wire/reason-rows.ts'
import { oneByOne } from '../../../testing/one-by-one.ts'
import { activeBatch, foldedOf, heldEvent, openClicks } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const open = await openClicks(plan)

const champion: ScoringModel = oneByOne({
  version: 'v1',
  score: (vector) => vector[0]! / 10,
  reasons: (vector) => [{ feature: 'amount', contribution: vector[0]! }],
})

/** Scores clicks with these vectors, of one number each, and a refund without one; `warnings` are of challengers that are dropped. */
function scored(model: ScoringModel | null, { isRestore = false, amounts = [4] } = {}) {
  const batch = activeBatch(open, [], { isRestore })
  const [clicked, refunded] = [heldEvent(plan, click('a', 'anna', 0), 0), heldEvent(plan, refund('a', 'anna', 1), 0)]
  const ofClicks = amounts.map((amount) => [clicked, [amount]] as const)
  const folded = foldedOf([...ofClicks.slice(0, 1), [refunded, null], ...ofClicks.slice(1)])
  const warnings: string[] = []
  const timed: string[] = []
  const silent = () => undefined
  const log = { info: silent, error: silent, warn: (_: object, message: string) => void warnings.push(message) }
  const parts = {
    folded,
    shadowScoring: createShadowScoring(log, { shadowDropped: silent }),
    metrics: {
      time<T>(step: string, work: () => T): T {
        timed.push(step)
        return work()
      },
    },
  }
  score(parts, batch, model)
  const { modelVersion, scores, reasons, shadows } = folded
  const clicks = amounts.map((_, row) => ({
    score: scores[row]!,
    reasons: row < reasons.count ? reasonsOf(reasons, row) : [],
    shadow: shadows[row] ?? [],
  }))
  return { modelVersion, output: clicks[0]!, clicks, rows: folded.rows, warnings, timed }
}

const unscored = { modelVersion: null, output: { score: 0, reasons: [], shadow: [] } }

describe('scoring', () => {
  test('without a model leaves the scores missing', () => {
    expect(scored(null)).toMatchObject(unscored)
  })

  test('gives every vector score, version and reasons of the champion', () => {
    const { modelVersion, output, rows, timed } = scored(champion)
    expect(modelVersion).toBe('v1')
    expect(output).toEqual({ score: 0.4, reasons: [{ feature: 'amount', contribution: 4 }], shadow: [] })
    // The refund has no vector.
    expect(rows).toEqual([0, -1])
    expect(timed).toEqual([])
  })

  test('leaves a restored batch as it is: it was scored before', () => {
    const shadows = [oneByOne({ version: 'v2', score: () => 1 })]
    expect(scored({ ...champion, shadows }, { isRestore: true })).toMatchObject(unscored)
  })

  test('lets the challengers score the same vectors', () => {
    const shadows = [
      oneByOne({ version: 'v2', score: (vector) => vector[0]! / 2 }),
      oneByOne({ version: 'v3', score: () => 0.5 }),
    ]
    const { output, timed } = scored({ ...champion, shadows })
    expect(output).toMatchObject({
      score: 0.4,
      shadow: [
        { version: 'v2', score: 2 },
        { version: 'v3', score: 0.5 },
      ],
    })
    expect(timed).toEqual(['shadow'])
  })

  test('of more vectors than a block holds gives each its own', () => {
    const amounts = Array.from({ length: 2_500 }, (_, i) => i + 1)
    const shadows = [oneByOne({ version: 'v2', score: (vector) => vector[0]! / 2 })]
    const { clicks, timed } = scored({ ...champion, shadows }, { amounts })
    expect(clicks.map(({ score }) => score)).toEqual(amounts.map((amount) => amount / 10))
    expect(clicks.map(({ reasons }) => reasons)).toEqual(
      amounts.map((amount) => [{ feature: 'amount', contribution: amount }]),
    )
    expect(clicks.map(({ shadow }) => shadow)).toEqual(amounts.map((amount) => [{ version: 'v2', score: amount / 2 }]))
    expect(timed).toEqual(['shadow'])
  })

  const sound = oneByOne({ version: 'v3', score: () => 0.5 })
  const ofSound = { version: 'v3', score: 0.5 }
  const failing = (failure: () => number) =>
    oneByOne({ version: 'v2', score: (vector) => (vector[0]! === 1_500 ? failure() : 0.25) })

  test.each([
    ['throws', thrower, 'no such tree'],
    ['gives no number', () => Number.NaN, 'its score is NaN'],
    ['gives an infinite one', () => Number.NEGATIVE_INFINITY, 'its score is -Infinity'],
  ])('goes on without a challenger that %s for one vector, and keeps what it gave before', (_, failure, reason) => {
    const amounts = Array.from({ length: 2_500 }, (_, i) => i + 1)
    const { clicks, warnings } = scored({ ...champion, shadows: [failing(failure), sound] }, { amounts })
    clicks.forEach(({ score, shadow }, i) => {
      expect(score).toBe((i + 1) / 10)
      expect(shadow).toEqual(i + 1 < 1_500 ? [{ version: 'v2', score: 0.25 }, ofSound] : [ofSound])
    })
    expect(warnings).toEqual([`challenger v2 is not asked again by this process: ${reason}`])
  })

  test('ends with a champion that fails', () => {
    expect(() => scored(oneByOne({ version: 'v1', score: thrower }))).toThrow('no such tree')
  })
})

function thrower(): number {
  throw new Error('no such tree')
}
