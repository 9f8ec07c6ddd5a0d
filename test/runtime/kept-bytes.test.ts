import { expect, test } from 'vitest'
import { capacityAfter } from '../../runtime/kept-bytes.ts'

test('a buffer stays four times as large as what was used of it, and a small one in any case', () => {
  expect(capacityAfter(1_000, 0, 1_000)).toBe(1_000)
  expect(capacityAfter(100_000, 25_000, 1_000)).toBe(100_000)
  expect(capacityAfter(100_000, 24_999, 1_000)).toBe(99_996)
  expect(capacityAfter(100_000, 10, 1_000)).toBe(1_000)
})
