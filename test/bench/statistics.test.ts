import { describe, expect, test } from 'vitest'
import { latencyOf, rounded, spread } from '../../bench/statistics.ts'
import { createRandom } from '../../testing/random.ts'

describe('spread', () => {
  test.each([
    [[7], { min: 7, median: 7, max: 7 }],
    [[3, 1, 2], { min: 1, median: 2, max: 3 }],
    [[4, 1, 3, 2], { min: 1, median: 2.5, max: 4 }],
    [[10, 9, 100], { min: 9, median: 10, max: 100 }],
  ])('of %j', (values, expected) => {
    expect(spread(values)).toEqual(expected)
  })

  test('of nothing, or of something that is no number, is a mistake', () => {
    expect(() => spread([])).toThrow('no spread')
    expect(() => spread([1, Number.NaN])).toThrow('no spread')
  })
})

describe('latency', () => {
  test('is taken by nearest rank over every value, in any order', () => {
    const random = createRandom(1)
    const values = Array.from({ length: 10_000 }, (_, i) => i + 1)
    const shuffled = values.map((value) => ({ value, at: random.next() })).sort((a, b) => a.at - b.at)
    expect(latencyOf(shuffled.map(({ value }) => value))).toEqual({ p50: 5_000, p99: 9_900, p999: 9_990, max: 10_000 })
  })

  test('of one value is that value, of none nothing', () => {
    expect(latencyOf([3.25])).toEqual({ p50: 3.25, p99: 3.25, p999: 3.25, max: 3.25 })
    expect(latencyOf([])).toBeNull()
  })
})

test('figures have five digits', () => {
  expect([123_456.7, 1.234_567, 0].map(rounded)).toEqual([123_460, 1.2346, 0])
})
