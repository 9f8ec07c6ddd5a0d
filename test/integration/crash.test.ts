/** kill -9 in the middle, twice, on real servers: nothing lost, nothing doubled, no vector changed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, inject, onTestFinished, test } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { generateHandbook, handbookEvents } from '../../pipelines/handbook.ts'
import { createReplay } from '../../processors/replay.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { startCommand } from '../support/command.ts'

const days = 5
const transactions = 47_999

test('kill -9 between any two steps: the predictions are those of an undisturbed run', {
  timeout: 300_000,
}, async () => {
  const namespace = `crash-${process.pid}`
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
  }
  const run = (...options: string[]) => startCommand(['run', 'pipelines/card-fraud.ts', ...options], environment)
  const listening = 'Features, health and metrics: http'
  const first = run('--create-topics')
  await first.printed(listening)

  const plan = compile(cardFraud, { namespace })
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: namespace })
  onTestFinished(() => broker.close())
  const predictions: Prediction[] = []
  const onPrediction = (prediction: Prediction) => void predictions.push(prediction)
  const watched = await watchTopics({
    broker,
    plan,
    clock: systemClock,
    from: 'start',
    onPrediction,
    onRejection: ({ problems }) => expect.fail(`rejected: ${JSON.stringify(problems)}`),
  })
  onTestFinished(() => watched.close())

  const source = ['--source', 'handbook', '--until', '2018-04-06', '--rate', '4000']
  const produce = startCommand(['produce', 'pipelines/card-fraud.ts', ...source], environment)
  const until = async (count: number) => {
    for (const began = Date.now(); predictions.length < count; await sleep(20)) {
      expect(Date.now() - began, `waiting for ${count} predictions, got ${predictions.length}`).toBeLessThan(120_000)
    }
  }
  await until(5_000)
  first.child.kill('SIGKILL')
  const second = run()
  await until(20_000)
  second.child.kill('SIGKILL')
  const third = run()
  await until(transactions)
  expect(await produce.exitCode, produce.output()).toBe(0)
  // What is committed twice would follow.
  await sleep(2_000)
  third.child.kill('SIGTERM')
  expect(await third.exitCode, third.output()).toBe(0)

  const replay = createReplay(plan, { partitions: 4 })
  const expected = new Map<string, Float64Array>()
  for (const { stream, values } of handbookEvents(generateHandbook(), { untilSecond: days * 86_400 })) {
    for (const { id, vector } of replay.push(stream === 'transactions' ? 0 : 1, values)) expected.set(id, vector)
  }
  for (const { id, vector } of replay.flush()) expected.set(id, vector)
  expect(expected.size).toBe(transactions)
  expect(predictions.length).toBe(transactions)
  expect(new Set(predictions.map(({ id }) => id)).size).toBe(transactions)
  const differing = predictions.filter(
    ({ id, features }) => !features.every((value, i) => Object.is(value, expected.get(id)![i])),
  )
  expect(differing.map(({ id }) => id)).toEqual([])
})
