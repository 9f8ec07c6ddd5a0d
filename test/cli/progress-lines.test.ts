import { expect, test } from 'vitest'
import { createProgressLines, type ProgressSample } from '../../cli/run/progress-lines.ts'

test('the line of run says what was done since the line before, and nothing while nothing is done', () => {
  const totals = { events: 0, predictions: 0, rejected: 0, restored: 0 }
  const latencies = new Map([['customer', { sumMs: 0, events: 0 }]])
  const tasks = [
    { held: 2, inputs: [{ lag: 1_200 }, { lag: 34 }], frontier: { time: Date.UTC(2026, 0, 2), order: 0 } },
    { held: 0, inputs: [{ lag: 0 }], frontier: { time: Date.UTC(2026, 0, 1), order: 0 } },
    { held: 0, inputs: [{ lag: 0 }], frontier: { time: Number.NEGATIVE_INFINITY, order: 0 } },
  ] as unknown as ProgressSample['tasks']
  // As in a process: the same objects, counted on.
  const lineOf = createProgressLines({ atMs: 0, totals, latencies, tasks })
  expect(lineOf({ atMs: 10_000, totals, latencies, tasks })).toBeNull()
  Object.assign(totals, { events: 20_000, predictions: 9_000, rejected: 3 })
  latencies.get('customer')!.sumMs = 500_000
  latencies.get('customer')!.events = 10_000
  latencies.set('terminal', { sumMs: 300_000, events: 10_000 })
  expect(lineOf({ atMs: 20_000, totals, latencies, tasks })).toBe(
    '2,000/s events, 900/s predictions, 3 rejected, lag 1,234 records, 2 held, latency 80 ms, event time 2026-01-01T00:00:00.000Z',
  )
  expect(lineOf({ atMs: 30_000, totals, latencies, tasks })).toBeNull()
  totals.restored = 50
  expect(lineOf({ atMs: 40_000, totals, latencies, tasks: [] })).toBe(
    '0/s events, 0/s predictions, 5/s restored, lag 0 records, 0 held, event time none',
  )
})
