/** The clock of what waits: time in which the process did nothing is not waited. */
import { expect, test } from 'vitest'
import { createRunningClock } from '../../processors/running-clock.ts'

test('runs with the process, and stands still while it is stopped', () => {
  let elapsedMs = 500
  const runningMs = createRunningClock({ nowMs: () => 1_000_000, elapsedMs: () => elapsedMs })
  elapsedMs += 700
  expect(runningMs()).toBe(1_000_700)
  elapsedMs += 60_000
  expect(runningMs()).toBe(1_001_700)
  elapsedMs += 999
  expect(runningMs()).toBe(1_002_699)
  expect(runningMs()).toBe(1_002_699)
})
