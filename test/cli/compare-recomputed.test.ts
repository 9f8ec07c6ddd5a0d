/** What `recompute` says of features that differ: how many of them are missing in one of both vectors, and how far the others are off. */
import { expect, test } from 'vitest'
import { createComparison } from '../../cli/recompute/compare.ts'

test('a value that is missing in one of both is counted by itself, and is no difference of 0', () => {
  const comparison = createComparison(['wind', 'rain', 'same'])
  const add = (now: number[], before: number[]) =>
    comparison.add(Float64Array.from(now), null, null, {
      features: Float64Array.from(before),
      score: null,
      modelVersion: null,
    })
  expect(add([5, Number.NaN, 1], [Number.NaN, 3, 1])).toBe('vector')
  expect(add([5, 2.5, Number.NaN], [Number.NaN, 3, Number.NaN])).toBe('vector')
  expect(comparison.figures().features).toEqual({
    wind: { differing: 2, missing: 2, greatest: 0 },
    rain: { differing: 2, missing: 1, greatest: 0.5 },
  })
})
