import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  compareCanonical,
  orderOf,
  partitionsMax,
  streamOfOrder,
  streamsMax,
} from '../../schemas/kernel/canonical-order.ts'

const seed = 20260813
const position = fc.record({
  time: fc.integer({ min: 0, max: 3 }),
  stream: fc.nat(streamsMax - 1),
  partition: fc.nat(partitionsMax - 1),
  offset: fc.nat(2 ** 40 - 1),
})
type Position = typeof position extends fc.Arbitrary<infer T> ? T : never
const positionOf = ({ time, stream, partition, offset }: Position) => ({
  time,
  order: orderOf(stream, partition, offset),
})

describe('canonical order', () => {
  test('is time, then stream, then partition, then offset', () => {
    const keys = ['time', 'stream', 'partition', 'offset'] as const
    fc.assert(
      fc.property(position, position, (a, b) => {
        const differing = keys.find((key) => a[key] !== b[key])
        const expected = differing === undefined ? 0 : Math.sign(a[differing] - b[differing])
        expect(Math.sign(compareCanonical(positionOf(a), positionOf(b)))).toBe(expected)
        expect(streamOfOrder(positionOf(a).order)).toBe(a.stream)
      }),
      { seed, numRuns: 2_000 },
    )
  })

  test('fits into the whole numbers of a double', () => {
    const last = orderOf(streamsMax - 1, partitionsMax - 1, 2 ** 40 - 1)
    expect(last).toBe(Number.MAX_SAFE_INTEGER)
    expect(orderOf(0, 0, 0)).toBe(0)
    expect(orderOf(0, 0, 2 ** 40 + 5)).toBe(5)
  })

  test.each([
    [streamsMax, 0, 0],
    [-1, 0, 0],
    [0, partitionsMax, 0],
    [0, -1, 0],
    [0, 0, -1],
  ])('asserts its bounds: %d, %d, %d', (stream, partition, offset) => {
    expect(() => orderOf(stream, partition, offset)).toThrow()
  })
})
