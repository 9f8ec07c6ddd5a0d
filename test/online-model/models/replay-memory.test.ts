import { describe, expect, test } from 'vitest'
import { createRandom } from '../../../online-model/models/random.ts'
import { createReplayMemory } from '../../../online-model/models/replay-memory.ts'
import { createRunningScales } from '../../../online-model/models/running-scales.ts'
import { columnScales } from '../../../online-model/models/standardise.ts'

describe('replay memory', () => {
  test('keeps the newest', () => {
    const memory = createReplayMemory(3, 1)
    for (let i = 0; i < 5; i++) memory.keep([i], 1, 0)
    expect(memory.size()).toBe(3)
    expect([0, 1, 2].map((slot) => memory.vectorAt(slot)[0])).toEqual([3, 4, 2])
  })

  test('draws what is scored worst most often, and its draws average to the mean of all', () => {
    const memory = createReplayMemory(50, 1)
    const rows = Array.from({ length: 50 }, (_, i) => ({
      value: i,
      weight: 1 + (i % 3),
      priority: i % 10 === 0 ? 0.9 : 0.01,
    }))
    for (const { value, weight, priority } of rows) memory.keep([value], weight, priority)
    const slots = new Uint32Array(40_000)
    const shares = new Float64Array(40_000)
    memory.draw(slots, shares, createRandom(5))
    const often = slots.filter((slot) => slot % 10 === 0).length
    // Half of the draws are even, of the rest nine tenths are of the five that are scored badly.
    expect(often / slots.length).toBeCloseTo(0.5 * 0.1 + 0.5 * (4.5 / 4.95), 1)
    const mean = slots.reduce((sum, slot, i) => sum + shares[i]! * memory.vectorAt(slot)[0]!, 0) / slots.length
    const wanted =
      rows.reduce((sum, { value, weight }) => sum + value * weight, 0) / rows.reduce((s, r) => s + r.weight, 0)
    expect(Math.abs(mean - wanted)).toBeLessThan(0.5)
    const total = shares.reduce((sum, share) => sum + share, 0) / slots.length
    expect(total).toBeCloseTo(1, 1)
  })

  test('without priorities draws evenly', () => {
    const memory = createReplayMemory(4, 1)
    for (let i = 0; i < 4; i++) memory.keep([i], 1, 0)
    const [slots, shares] = [new Uint32Array(4_000), new Float64Array(4_000)]
    memory.draw(slots, shares, createRandom(5))
    for (let i = 0; i < 4; i++) expect(slots.filter((slot) => slot === i).length / 4_000).toBeCloseTo(0.25, 1)
    expect([...new Set(shares)]).toEqual([1])
  })
})

describe('running scales', () => {
  test('are those of the whole, with weights and missing values', () => {
    const random = createRandom(2)
    const rows = Float64Array.from({ length: 3_000 }, (_, at) => {
      if (at % 3 === 2) return 0.1
      return at % 21 === 0 ? Number.NaN : 1e6 + 50 * random.normal()
    })
    const weights = Float64Array.from({ length: 1_000 }, (_, row) => 1 + (row % 4))
    const { add, current: running } = createRunningScales(3, false)
    for (let row = 0; row < 1_000; row += 250) add(rows.subarray(row * 3), weights.subarray(row), 250)
    const whole = columnScales({ rows, rowCount: 1_000, features: ['a', 'b', 'c'], weights })
    expect(running.units).toBeNull()
    for (let i = 0; i < 3; i++) {
      expect(running.means[i]).toBeCloseTo(whole.means[i]!, 6)
      expect(running.scales[i]).toBeCloseTo(whole.scales[i]!, 6)
    }
  })
})
