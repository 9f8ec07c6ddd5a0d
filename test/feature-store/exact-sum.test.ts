import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addExact, clearExactSum, createExactSum, exactSumOf } from '../../feature-store/aggregates/exact-sum.ts'
import { bigSum } from '../../processors/audit/big-sum.ts'

function sumOf(values: readonly number[]): number {
  const sum = createExactSum()
  for (const value of values) addExact(sum, value)
  return exactSumOf(sum)
}

describe('exact sum', () => {
  it('keeps what plain addition loses', () => {
    expect([0.1, 0.2, 0.3].reduce((a, b) => a + b)).toBe(0.6000000000000001)
    expect(sumOf([0.1, 0.2, 0.3])).toBe(0.6)
    expect(sumOf([1e100, 1, -1e100])).toBe(1)
    expect(sumOf([1e16, 1, 1e-16])).toBe(10000000000000002)
    expect(sumOf([])).toBe(0)
  })

  it('rounds a tie by what is below it', () => {
    expect(sumOf([2 ** 53, 1])).toBe(2 ** 53)
    expect(sumOf([2 ** 53, 1, 2 ** -60])).toBe(2 ** 53 + 2)
    expect(sumOf([2 ** 53 + 2, 1, -(2 ** -60)])).toBe(2 ** 53 + 2)
    expect(sumOf([2 ** 53 + 2, 1])).toBe(2 ** 53 + 4)
  })

  it('is missing when a value is beyond its bound, in any order', () => {
    expect(sumOf([2 ** 1000, 2 ** 1000])).toBe(2 ** 1001)
    expect(sumOf([2 ** 1001, 1])).toBeNaN()
    expect(sumOf([1, -(2 ** 1001), 2 ** 1001])).toBeNaN()
    expect(sumOf([Number.POSITIVE_INFINITY])).toBeNaN()
  })

  it('counts on after its value was taken, and forgets when cleared', () => {
    const sum = createExactSum()
    for (const value of [1e300, 3, 1e-300]) addExact(sum, value)
    expect(exactSumOf(sum)).toBe(1e300)
    addExact(sum, -1e300)
    expect(exactSumOf(sum)).toBe(3)
    addExact(sum, -3)
    expect(exactSumOf(sum)).toBe(1e-300)
    clearExactSum(sum)
    expect(exactSumOf(sum)).toBe(0)
  })

  it('equals the sum by integers of any length, in every order and at every step', () => {
    const anySize = fc.oneof(
      fc.double({ min: -(2 ** 1000), max: 2 ** 1000, noNaN: true }),
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.integer({ min: -1000, max: 1000 }).map((units) => units / 100),
      fc
        .tuple(fc.integer({ min: -60, max: 60 }), fc.constantFrom(-1, 1))
        .map(([exponent, sign]) => sign * 2 ** exponent),
    )
    fc.assert(
      fc.property(
        fc.array(
          anySize.map((value) => value + 0),
          { maxLength: 60 },
        ),
        (values) => {
          const sum = createExactSum()
          values.forEach((value, index) => {
            addExact(sum, value)
            expect(exactSumOf(sum)).toBe(bigSum(values.slice(0, index + 1)) + 0)
          })
          expect(sumOf(values.toReversed())).toBe(sumOf(values))
          expect(sumOf(values.toSorted((a, b) => a - b))).toBe(sumOf(values))
        },
      ),
      { numRuns: 400 },
    )
  })
})
