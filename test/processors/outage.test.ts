/** Failures without progress between them: counted, dated and spaced out. */
import { expect, test } from 'vitest'
import { afterFailure, noOutage, retryDelayMs } from '../../processors/recovery/outage.ts'

test('an outage begins with its first failure, and anew after progress', () => {
  const first = afterFailure(noOutage, false, 1_000)
  expect(first).toEqual({ failures: 1, sinceMs: 1_000 })
  const second = afterFailure(first, false, 1_500)
  expect(second).toEqual({ failures: 2, sinceMs: 1_000 })
  expect(afterFailure(second, true, 2_000)).toEqual({ failures: 1, sinceMs: 2_000 })
})

test('delays double up to five seconds, and jitter takes at most half of one', () => {
  const delays = (random: number) => [1, 2, 3, 8, 40].map((failures) => retryDelayMs({ failures, sinceMs: 0 }, random))
  expect(delays(1)).toEqual([50, 100, 200, 5_000, 5_000])
  expect(delays(0)).toEqual([25, 50, 100, 2_500, 2_500])
})
