/**
 * A definition changes under a running pipeline with a champion: with a feature more the champion scores on, bit for bit as before; with
 * one of its features edited it scores nothing, and log, readiness and doctor say so.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test, vi } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import { loadPlan } from '../../cli/load-plan.ts'
import { predictor } from '../../online-model/models/scorer.ts'
import { modelFromJson } from '../../online-model/registry/model-file.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { click, refund } from '../support/clicks.ts'
import { ownFolder, startCommand } from '../support/command.ts'

const before = 'test/cli/fixtures/clicks.ts'
const more = 'test/integration/fixtures/clicks-more.ts'
const edited = 'test/cli/fixtures/clicks-added.ts'
const clicks = 200

test('a feature is added, then one is edited', { timeout: 240_000 }, async () => {
  const folder = ownFolder()
  const namespace = `evolving-${process.pid}`
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_PARTITIONS: '2',
  }
  const command = async (...args: string[]) => {
    const one = startCommand(args, environment)
    expect(await one.exitCode, one.output()).toBe(0)
    return one.output()
  }
  const run = async (definition: string) => {
    const started = startCommand(['run', definition, '--create-topics'], environment)
    await started.printed('health and metrics: http')
    const url = /metrics: (http\S+)/.exec(started.output())![1]!
    const ready = async () => (await (await fetch(`${url}/health/ready`)).json()) as { status: string }
    await vi.waitFor(async () => expect((await ready()).status).toMatch(/^(ready|degraded)$/), { timeout: 60_000 })
    return {
      url,
      ready,
      output: started.output,
      async stop() {
        started.child.kill('SIGTERM')
        expect(await started.exitCode, started.output()).toBe(0)
      },
    }
  }
  const plan = await loadPlan(more, { namespace })
  const kafka = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: namespace })
  const predictions: Prediction[] = []

  const first = await run(before)
  const events = Array.from({ length: clicks }, (_, i) => [
    click(`c${i}`, `u${i % 7}`, 54 * i, { amount: 1 + (i % 9), page: `p${i % 3}` }),
    ...(i % 10 === 0 ? [refund(`c${i}`, `u${i % 7}`, 54 * i + 1, { clickedAt: 54 * i })] : []),
  ]).flat()
  const file = join(folder, 'events.jsonl')
  writeFileSync(file, events.map(({ stream, values }) => `${JSON.stringify({ stream, ...values })}\n`).join(''))
  await command('produce', before, '--source', file)
  await vi.waitFor(
    async () =>
      expect(await (await fetch(`${first.url}/metrics`)).text()).toMatch(/^millrace_predictions_total\S* (199|200)$/m),
    { timeout: 60_000, interval: 100 },
  )
  const exported = join(folder, 'v1.json')
  await command('train', before, '--out', exported)
  await first.stop()

  expect(await command('plan', more)).toMatch(/6 kept, 1 added \(hasAmount\)[\s\S]*champion: v1 scores on\./)
  const second = await run(more)
  const watched = await watchTopics({
    broker: kafka,
    plan,
    clock: systemClock,
    from: 'end',
    onPrediction: (one) => void predictions.push(one),
    onRejection: () => undefined,
  })
  const post = async (url: string, from: number) => {
    const values = Array.from({ length: 5 }, (_, i) => click(`d${from + i}`, 'u1', 54 * clicks + from + i).values)
    const answer = await fetch(`${url}/streams/clicks/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(values),
    })
    expect(answer.status, await answer.text()).toBe(200)
  }
  await post(second.url, 0)
  await vi.waitFor(() => expect(predictions.length).toBe(5), { timeout: 30_000 })
  const score = predictor(modelFromJson(readFileSync(exported, 'utf8'), exported).model, plan)
  for (const one of predictions) expect([one.modelVersion, one.score]).toEqual(['v1', score(one.features)])
  expect((await second.ready()).status).toBe('ready')
  await second.stop()

  expect(await command('plan', edited)).toContain('champion: v1 does not fit: feature guarded has changed.')
  const third = await run(edited)
  expect(await third.ready()).toMatchObject({
    status: 'degraded',
    reasons: [{ part: 'model', reason: expect.stringContaining('feature guarded has changed') }],
  })
  expect(third.output()).toContain('champion v1 does not fit this definition: feature guarded has changed')
  const doctor = startCommand(['doctor', edited], environment)
  await doctor.exitCode
  expect(doctor.output()).toContain(
    'warn  registry: champion v1 does not fit this definition: feature guarded has changed',
  )
  await third.stop()
  await watched.close()
  await kafka.close()
})
