/**
 * A definition changes under a running pipeline with a champion, three times. With a feature more the champion scores on, bit for bit as
 * before; for an edited feature a model is trained on the vectors of history before the switch; with a wider window, a pipeline in a
 * namespace of its own runs beside it. No event is without a score.
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
const widened = 'test/cli/fixtures/clicks-widened.ts'
const clicks = 200

test('a feature is added, one is edited, a window widened: no event is without a score', {
  timeout: 300_000,
}, async () => {
  const folder = ownFolder()
  const namespace = `evolving-${process.pid}`
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_PARTITIONS: '2',
  }
  const commandIn = async (settings: typeof environment, ...args: string[]) => {
    const one = startCommand(args, settings)
    expect(await one.exitCode, one.output()).toBe(0)
    return one.output()
  }
  const command = (...args: string[]) => commandIn(environment, ...args)
  const run = async (definition: string, settings = environment) => {
    const started = startCommand(['run', definition, '--create-topics'], settings)
    await started.printed('health and metrics: http')
    const url = /metrics: (http\S+)/.exec(started.output())![1]!
    const ready = async () => (await (await fetch(`${url}/health/ready`)).json()) as { status: string }
    await vi.waitFor(
      async () => {
        if (started.child.exitCode !== null) throw new Error(started.output())
        expect((await ready()).status).toMatch(/^(ready|degraded)$/)
      },
      { timeout: 60_000 },
    )
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
  let posted = 0
  /** Five events, each scored by this version. */
  const scoredBy = async (url: string, version: string) => {
    await post(url, posted)
    posted += 5
    await vi.waitFor(() => expect(predictions.length).toBe(posted), { timeout: 30_000 })
    for (const { modelVersion, score } of predictions.slice(-5))
      expect([modelVersion, score]).toEqual([version, expect.any(Number)])
  }
  /** While another definition runs: a model of this one, on the vectors that its features would have had. */
  const trainBefore = async (definition: string) => {
    const vectors = join(folder, 'recomputed.csv')
    await command('recompute', definition, '--from', '2024-01-01', '--out', vectors)
    return command('train', definition, '--vectors', vectors)
  }

  await scoredBy(second.url, 'v1')
  const score = predictor(modelFromJson(readFileSync(exported, 'utf8'), exported).model, plan)
  for (const one of predictions) expect(one.score).toBe(score(one.features))
  expect((await second.ready()).status).toBe('ready')

  expect(await command('plan', edited)).toContain('champion: v1 does not fit: feature guarded has changed.')
  expect(await trainBefore(edited)).toContain('Model v2 is the champion now, instead of v1.')
  await vi.waitFor(async () => expect((await second.ready()).status).toBe('degraded'), { timeout: 30_000 })
  expect(await second.ready()).toMatchObject({
    reasons: [{ part: 'model', reason: expect.stringContaining('v1, which was the champion before, scores until') }],
  })
  const doctor = startCommand(['doctor', more], environment)
  await doctor.exitCode
  expect(doctor.output()).toMatch(
    /warn {2}registry: champion v2 does not fit this definition: feature guarded has changed\. v1/,
  )
  await scoredBy(second.url, 'v1')
  await second.stop()
  const third = await run(edited)
  await scoredBy(third.url, 'v2')
  expect((await third.ready()).status).toBe('ready')

  expect(await command('plan', widened)).toMatch(/champion: v2 does not fit: [\s\S]*let it finish before you stop it/)
  const green = { ...environment, MILLRACE_NAMESPACE: `${namespace}-green`, MILLRACE_RAW_NAMESPACE: namespace }
  await commandIn(green, 'topics', widened, '--create', '--alter')
  const fourth = await run(widened, green)
  const isAtEnd = async () =>
    expect(await (await fetch(`${fourth.url}/metrics`)).text()).toMatch(
      new RegExp(`^millrace_predictions_total\\S* ${clicks + posted}$`, 'm'),
    )
  await vi.waitFor(isAtEnd, { timeout: 60_000, interval: 100 })
  expect(await commandIn(green, 'train', widened)).toContain('Model v1 is the champion now, the first one.')
  const ofGreen: Prediction[] = []
  const watchedGreen = await watchTopics({
    broker: kafka,
    plan: await loadPlan(widened, { namespace: green.MILLRACE_NAMESPACE, rawNamespace: namespace }),
    clock: systemClock,
    from: 'end',
    onPrediction: (one) => void ofGreen.push(one),
    onRejection: () => undefined,
  })
  await scoredBy(third.url, 'v2')
  await vi.waitFor(() => expect(ofGreen.length).toBe(5), { timeout: 30_000 })
  for (const { modelVersion, score } of ofGreen) expect([modelVersion, score]).toEqual(['v1', expect.any(Number)])
  expect(ofGreen.map(({ id }) => id).sort()).toEqual(
    predictions
      .slice(-5)
      .map(({ id }) => id)
      .sort(),
  )
  await Promise.all([third.stop(), fourth.stop(), watchedGreen.close()])
  await watched.close()
  await kafka.close()
})
