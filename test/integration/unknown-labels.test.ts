/**
 * `otherwise: 'unknown'` with the real trainer: events without a report are neither trained on nor evaluated, a report counts as it arrives,
 * and one of another value than 0 and 1 is counted with its reason.
 */
import { join } from 'node:path'
import { expect, inject, test, vi } from 'vitest'
import type { PredictionResponse, TrainerResponse } from '../../online-model/trainer/routes.ts'
import { freePort } from '../../runtime/servers/free-port.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'

const definition = 'test/integration/fixtures/reviews.ts'
const retryBudget = { timeout: 120_000, interval: 250 }
const [orders, reported] = [601, 200]
const startMs = Date.now() - 3_600_000

test('learns from reports alone, as they arrive', { timeout: 300_000 }, async () => {
  const folder = ownFolder()
  const port = await freePort(undefined, [])
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: `reviews-${process.pid}`,
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_FOLDER: folder,
    MILLRACE_TRAINER_PORT: String(port),
  }
  const run = startCommand(['run', definition, '--create-topics'], environment)
  await run.printed('health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const post = (stream: string, events: readonly object[]) =>
    fetch(`${url}/streams/${stream}/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(events),
    })
  const order = (i: number) => ({
    orderId: `o${i}`,
    userId: `u${i % 7}`,
    total: i % 50,
    at: startMs + i * 1_000 + (i === 600 ? 120_000 : 0),
  })
  const all = Array.from({ length: orders }, (_, i) => order(i))
  // Every third order is reviewed, good where the total is large.
  const reviews = Array.from({ length: reported }, (_, i) => {
    const { orderId, total, at } = order(3 * i)
    return { orderId, isGood: total > 25, at: at + 60_000 }
  })
  const accepted = await post('orders', all)
  expect(accepted.status, await accepted.text()).toBe(200)
  expect((await post('reviews', reviews)).status).toBe(200)
  await send(environment.KAFKA_BROKERS, `${environment.MILLRACE_NAMESPACE}.reviews`, {
    orderId: 'o1',
    isGood: 5,
    at: startMs,
  })

  const trainer = startCommand(['trainer', definition], environment)
  await trainer.printed('The trainer of')
  const get = async <T>(path: string) => (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as T
  await vi.waitFor(async () => {
    const { store } = await get<TrainerResponse>('/trainer')
    expect(store.counts).toMatchObject({ predictions: orders, labels: reported, rejectedValues: 1, rejectedLabels: 0 })
    // One more order came after the last review, so that both streams have passed all of them.
    expect(store.rows).toMatchObject({ matured: reported, waiting: orders - reported })
  }, retryBudget)
  expect((await get<PredictionResponse>('/predictions/o3')).label).toMatchObject({ value: 0 })
  expect((await get<PredictionResponse>('/predictions/o1')).label).toBeNull()
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  expect(metrics).toContain('millrace_trainer_labels_left_out{reason="value"} 1')
  expect(trainer.output()).toContain('because its value is neither 0 nor 1')
  trainer.child.kill('SIGTERM')
  expect(await trainer.exitCode, trainer.output()).toBe(0)

  const file = join(folder, 'train.json')
  const train = startCommand(['train', definition, '--json', file], environment)
  expect(await train.exitCode, train.output()).toBe(0)
  expect(readJson(file)).toMatchObject({ rows: reported, skipped: { rejectedValues: 1 } })
  const data = startCommand(['data', definition], environment)
  expect(await data.exitCode, data.output()).toBe(0)
  expect(data.output()).toMatch(/200 mature rows.*\n[\s\S]*401 \(mature once reported;/)
  expect(data.output()).toContain('1 labels whose value is neither 0 nor 1')
})

async function send(brokers: string, topic: string, value: object): Promise<void> {
  const { createKafkaBroker } = await import('../../runtime/kafka/broker.ts')
  const broker = createKafkaBroker({ brokers: brokers.split(','), clientId: 'millrace-test' })
  try {
    const producer = await broker.data.producer()
    await producer.send([{ topic, partition: 0, key: null, value: Buffer.from(JSON.stringify(value)) }])
  } finally {
    await broker.close()
  }
}
