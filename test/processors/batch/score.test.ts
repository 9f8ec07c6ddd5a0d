/** Step 5: the scores of the champion, and those of its challengers beside them. */
import { describe, expect, test } from 'vitest'
import type { Output } from '../../../processors/batch/outputs.ts'
import { score } from '../../../processors/batch/score.ts'
import type { ScoringModel } from '../../../processors/batch/scoring.ts'
import { createShadowScoring } from '../../../processors/batch/shadow-scoring.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { activeBatch, heldEvent, openClicks, outputOf } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const open = await openClicks(plan)

const champion: ScoringModel = {
  version: 'v1',
  score: (vector) => vector[0]! / 10,
  reasons: (vector) => [{ feature: 'amount', contribution: vector[0]! }],
}

/** Scores a batch of a click with this vector and of a refund without one; `warnings` are of challengers that are dropped. */
function scored(model: ScoringModel | null, { isRestore = false, vector = [4] } = {}) {
  const batch = activeBatch(open, [], { isRestore })
  const [clicked, refunded] = [heldEvent(plan, click('a', 'anna', 0), 0), heldEvent(plan, refund('a', 'anna', 1), 0)]
  batch.outputs.push(outputOf(clicked, vector), outputOf(refunded))
  const warnings: string[] = []
  const timed: string[] = []
  const silent = () => undefined
  const log = { info: silent, error: silent, warn: (_: object, message: string) => void warnings.push(message) }
  const parts = {
    shadowScoring: createShadowScoring(log, { shadowDropped: silent }),
    metrics: {
      time<T>(step: string, work: () => T): T {
        timed.push(step)
        return work()
      },
    },
  }
  score(parts, [batch], model)
  const [output, other] = batch.outputs as [Output, Output]
  return { output, other, warnings, timed }
}

const unscored = { score: null, modelVersion: null, reasons: [], shadow: [] }

describe('scoring', () => {
  test('without a model leaves the scores missing', () => {
    expect(scored(null).output).toMatchObject(unscored)
  })

  test('gives every vector score, version and reasons of the champion', () => {
    const { output, other, timed } = scored(champion)
    expect(output).toMatchObject({
      score: 0.4,
      modelVersion: 'v1',
      reasons: [{ feature: 'amount', contribution: 4 }],
      shadow: [],
    })
    expect(other).toMatchObject(unscored)
    expect(timed).toEqual([])
  })

  test('leaves a restored batch as it is: it was scored before', () => {
    const shadows = [{ version: 'v2', score: () => 1 }]
    expect(scored({ ...champion, shadows }, { isRestore: true }).output).toMatchObject(unscored)
  })

  test('lets the challengers score the same vectors', () => {
    const shadows = [
      { version: 'v2', score: (vector: ArrayLike<number>) => vector[0]! / 2 },
      { version: 'v3', score: () => 0.5 },
    ]
    const { output, other, timed } = scored({ ...champion, shadows })
    expect(output).toMatchObject({
      score: 0.4,
      shadow: [
        { version: 'v2', score: 2 },
        { version: 'v3', score: 0.5 },
      ],
    })
    expect(other.shadow).toEqual([])
    expect(timed).toEqual(['shadow'])
  })

  test('goes on without a challenger that fails', () => {
    const broken = () => {
      throw new Error('no such tree')
    }
    const { output, warnings } = scored({ ...champion, shadows: [{ version: 'v2', score: broken }] })
    expect(output).toMatchObject({ score: 0.4, shadow: [] })
    expect(warnings).toEqual(['challenger v2 is not asked again by this process: no such tree'])
  })

  test('ends with a champion that fails', () => {
    const score = () => {
      throw new Error('no such tree')
    }
    expect(() => scored({ ...champion, score })).toThrow('no such tree')
  })
})
