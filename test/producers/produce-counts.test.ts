/** The counts of `produce`: what was sent and rejected, and progress at most once a second. */
import { expect, test } from 'vitest'
import { createProduceCounts, type ProduceProgress } from '../../producers/produce-counts.ts'

const sent = (stream: string, timeMs: number) => ({ stream, id: `${timeMs}`, timeMs, values: {} })
const problem = (code: 'late' | 'missing') => ({ path: '', code, expected: 'a', received: 'b' })

test('are summed by stream and by the code of the first problem', () => {
  const counts = createProduceCounts([{ name: 'a' }, { name: 'b' }], undefined)
  counts.acknowledged([sent('a', 5), sent('a', 3)])
  counts.rejected([problem('missing'), problem('late')])
  expect(counts.summary(500)).toEqual({
    events: 2,
    byStream: { a: 2, b: 0 },
    rejected: 1,
    leftOut: 0,
    rejectedByCode: { missing: 1 },
    seconds: 0.5,
    eventsPerSecond: 4,
    firstTime: 3,
    lastTime: 5,
  })
})

test('are reported once a second, with the rate since the report before', () => {
  const reports: ProduceProgress[] = []
  const counts = createProduceCounts([{ name: 'a' }], (progress) => reports.push(progress))
  counts.acknowledged([sent('a', 1)])
  counts.report(999)
  counts.report(1_000)
  counts.acknowledged([sent('a', 2), sent('a', 4)])
  counts.report(1_999)
  counts.report(3_000)
  expect(reports).toEqual([
    { events: 1, eventsPerSecond: 1, timeMs: 1 },
    { events: 3, eventsPerSecond: 1, timeMs: 4 },
  ])
})
