/** What processing shows of itself: the page that Prometheus reads, after one real batch. */
import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { createTask } from '../../processors/batch/task.ts'
import { createProcessingMetrics } from '../../processors/metrics.ts'
import { initialFrontier } from '../../processors/watermarks/frontier.ts'
import { noRecords, recordsOf } from '../../runtime/records.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

test('a committed batch shows its events, its lag in records and in event time, and its rejections by reason', async () => {
  const plan = compile(clicksPipeline({ stages: 1, disorder: '10s' }))
  const input = { resumeOffset: 0, nextOffset: 0, maxEventTime: Number.NEGATIVE_INFINITY }
  const task = createTask({
    plan,
    stage: plan.stages[0]!,
    partition: 0,
    partitions: 1,
    tasksBefore: 0,
    sourceFrontiers: null,
    openedAtMs: 0,
    limits: { holdMaxMs: Number.POSITIVE_INFINITY, heldMax: 100, readAheadMax: 100 },
    start: { frontier: initialFrontier, retentionWatermark: Number.NEGATIVE_INFINITY, inputs: [input, input] },
    restoreTo: null,
  })
  const records = ['a', 'b', 'bad'].map((id, offset) => ({
    offset,
    appendedAtMs: clicksStartMs + 86_400_000,
    key: null,
    value: id === 'bad' ? Buffer.from(id) : plan.scored.codec.encode(click(id, 'anna', offset * 60).values),
    headers: id === 'a' ? { [rejectedByHeader]: Buffer.from('user') } : {},
  }))
  const fetched = { partition: 0, from: 0 }
  task.accept({ ...fetched, topic: 'clicks', records: recordsOf(records), next: 3, stableEnd: 8, end: 8, age: 0 }, 1, 0)
  task.accept({ ...fetched, topic: 'refunds', records: noRecords, next: 0, stableEnd: 0, end: 0, age: 0 }, 2, 0)
  const unbounded = Number.POSITIVE_INFINITY
  const batch = task.take(0, {
    eventsMax: 100,
    admits: () => true,
    maxReleaseTime: unbounded,
    beforeRound: unbounded,
  })!
  expect(batch.events.map(({ id }) => id)).toEqual(['a'])

  const registry = new Registry()
  const metrics = createProcessingMetrics(registry, ['clicks', 'refunds'], { elapsedMs: () => 0, nowMs: () => 5 })
  metrics.took('batch', 12)
  metrics.committed(task, batch, { count: 0, model: null }, batch.rejections)
  const page = await registry.metrics()
  for (const line of [
    'millrace_replayed_events_total{stage="user"} 1',
    'millrace_events_total{stage="user",stream="clicks"} 1',
    'millrace_rejected_total{stage="user",code="not_json"} 1',
    'millrace_input_lag_records{topic="clicks",partition="0"} 5',
    `millrace_event_time_seconds{stage="user",partition="0"} ${clicksStartMs / 1_000}`,
    'millrace_event_time_lag_seconds{stage="user",partition="0"} 60',
    'millrace_step_duration_ms_sum{step="batch"} 12',
  ]) {
    expect(page).toContain(line)
  }
  expect(metrics.totals).toMatchObject({ batches: 1, events: 1, rejected: 1, predictions: 0 })
})
