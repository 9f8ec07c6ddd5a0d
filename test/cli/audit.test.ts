/** `millrace audit` on the memory broker: counts, what it prints, its exit code, and what the doctor makes of it. */
import { expect, test } from 'vitest'
import { runAudit } from '../../processors/audit/run-audit.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { createPipelineRunner } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }

test('follows a pipeline to its end, batch by batch, and finds the one changed bit that is added', async () => {
  const startMs = clicksStartMs + 6 * 3_600_000
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  await runner.sendAll(
    Array.from({ length: 60 }, (_, i) => click(`c${i}`, `user${i % 5}`, i, { page: `page${i % 3}` })),
  )
  const worker = runner.start()
  await worker.until('all are predicted', () => worker.metrics.totals.predictions === 60)
  await worker.stop()

  let learned = 0
  const names: string[] = []
  const follow = () =>
    runAudit({
      plan: runner.plan,
      broker: runner.broker.data,
      partitionsOf: () => 2,
      clock: runner.clock,
      log: silent,
      random: () => 1,
      sample: 1,
      scoreOf: () => null,
      loadModels: async () => void learned++,
      isOnce: true,
      signal: new AbortController().signal,
      onCompared: (_, differences) => names.push(...differences.map(({ id, name }) => `${id} ${name}`)),
    })
  const counts = await follow()
  expect(counts).toMatchObject({ checked: 120, predictions: 60, differing: 0, skipped: {} })
  expect(learned).toBeGreaterThan(0)

  const [first] = await runner.predictions()
  const features = first!.features.map((value, i) => (i === 3 ? value + value * Number.EPSILON : value))
  const value = runner.plan.predictions.codec.encode({ ...first!, features })
  const producer = await runner.broker.data.producer()
  await producer.send([{ topic: runner.plan.predictions.topic, partition: 1, key: null, value }])
  expect(await follow()).toMatchObject({ checked: 121, predictions: 61, differing: 1 })
  expect(names).toEqual([`${first!.id} userSum`])
})

test('gives up after five minutes without Kafka, and reports how long it tried', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs: clicksStartMs })
  const beganMs = runner.clock.elapsedMs()
  const away = new PipelineError('kafka_unreachable', 'No broker answered.')
  const audit = runAudit({
    plan: runner.plan,
    broker: { ...runner.broker.data, fetcher: () => Promise.reject(away) },
    partitionsOf: () => 1,
    clock: runner.clock,
    log: silent,
    random: () => 1,
    sample: 1,
    scoreOf: () => null,
    loadModels: async () => undefined,
    isOnce: false,
    signal: new AbortController().signal,
    onCompared: () => undefined,
  })
  await expect(audit).rejects.toMatchObject({
    code: 'kafka_unreachable',
    message: 'No broker answered. Gave up after 66 failed attempts in 301 s.',
    cause: away,
  })
  expect(runner.clock.elapsedMs() - beganMs).toBeGreaterThan(300_000)
})
