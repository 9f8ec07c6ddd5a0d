/**
 * Kafka and Redis are killed under load and come back: the stream continues by itself, its predictions are those of a quiet run, and the
 * trainer beside it has each of them once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { watchTopics } from '../../../cli/environment/watch-topics.ts'
import type { TrainerResponse } from '../../../online-model/trainer/routes.ts'
import cardFraud from '../../../pipelines/card-fraud.ts'
import { generateHandbook, handbookEvents } from '../../../pipelines/handbook.ts'
import { createReplay } from '../../../processors/replay.ts'
import { systemClock } from '../../../runtime/clock.ts'
import { createKafkaBroker } from '../../../runtime/kafka/broker.ts'
import { freePort } from '../../../runtime/servers/free-port.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { Prediction } from '../../../schemas/wire/records.ts'
import { ownFolder, startCommand } from '../../support/command.ts'
import { ownServers } from '../../support/own-servers.ts'

/** The days of the benchmark that are sent, and how fast: the stream must not end before Redis is full, however long the outages take. */
const days = 3
const eventsPerSecond = 500
/** Longer by hand: what is waited out is bounded by minutes. */
const outageMs = 1_000 * Number(process.env.OUTAGE_SECONDS ?? 5)

test('Kafka killed, Redis killed, Redis full: nothing lost, doubled or changed', { timeout: 600_000 }, async () => {
  const { kafka, redis } = await ownServers()
  const trainerPort = await freePort(undefined, [])
  const environment = {
    KAFKA_BROKERS: kafka.address,
    REDIS_URL: redis.address,
    MILLRACE_FOLDER: ownFolder(),
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_TRAINER_PORT: String(trainerPort),
  }
  const run = startCommand(['run', 'pipelines/card-fraud.ts', '--create-topics'], environment)
  await run.printed('Features, health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const trainer = startCommand(['trainer', 'pipelines/card-fraud.ts'], environment)
  await trainer.printed('The trainer of')
  const plan = compile(cardFraud)
  const { expected, until } = quietRun()
  const produce = startCommand(
    ['produce', 'pipelines/card-fraud.ts', '--source', 'handbook', '--until', until, '--rate', String(eventsPerSecond)],
    environment,
  )
  const predictions = createCount()
  // A watcher of its own for each span: the broker object of a test gives up sooner than the process does.
  const watch = async (count: number) => {
    const broker = createKafkaBroker({ brokers: [kafka.address], clientId: 'outage' })
    predictions.clear()
    const onPrediction = predictions.add
    const onRejection = ({ problems }: { problems: unknown }) => expect.fail(`rejected: ${JSON.stringify(problems)}`)
    const watched = await watchTopics({ broker, plan, clock: systemClock, from: 'start', onPrediction, onRejection })
    try {
      await eventually(() => predictions.size() >= count, `${count} predictions`, predictions.size)
    } finally {
      await watched.close()
      await broker.close()
    }
  }

  await watch(3_000)
  await kafka.kill()
  await notReady(url, 'Kafka')
  await sleep(outageMs)
  await kafka.restart()
  await ready(url)
  await watch(predictions.size() + 2_000)

  await redis.kill()
  await notReady(url, 'Redis')
  await sleep(outageMs)
  await redis.restart()
  await ready(url)
  await watch(predictions.size() + 2_000)

  const admin = new Redis(redis.address)
  onTestFinished(() => admin.disconnect())
  await admin.config('SET', 'maxmemory', '1mb')
  await sleep(outageMs / 2)
  await run.printed('OOM command not allowed')
  await admin.config('SET', 'maxmemory', '0')
  await watch(expected.size)
  expect(await produce.exitCode, produce.output()).toBe(0)

  // What is committed twice would follow.
  await sleep(2_000)
  await watch(expected.size)
  const differing = predictions
    .all()
    .filter(({ id, features }) => !features.every((value, i) => Object.is(value, expected.get(id)?.[i])))
  expect(differing.map(({ id }) => id)).toEqual([])
  expect(predictions.size()).toBe(expected.size)
  expect(predictions.doubled()).toBe(0)
  const learntFrom = async () => {
    const response = await fetch(`http://127.0.0.1:${trainerPort}/trainer`)
    return ((await response.json()) as TrainerResponse).store.counts
  }
  await eventually(async () => (await learntFrom()).predictions >= expected.size, 'the trainer', trainer.output)
  expect(await learntFrom()).toMatchObject({ predictions: expected.size, duplicatePredictions: 0, passedOver: 0 })
  for (const command of [run, trainer]) {
    command.child.kill('SIGTERM')
    expect(await command.exitCode, command.output()).toBe(0)
  }
})

/** What the pure core gives for the span. */
function quietRun(): { readonly expected: ReadonlyMap<string, Float64Array>; readonly until: string } {
  const plan = compile(cardFraud)
  const replay = createReplay(plan, { partitions: 4 })
  const expected = new Map<string, Float64Array>()
  for (const { stream, values } of handbookEvents(generateHandbook(), { untilSecond: days * 86_400 })) {
    for (const { id, vector } of replay.push(stream === 'transactions' ? 0 : 1, values)) expected.set(id, vector)
  }
  for (const { id, vector } of replay.flush()) expected.set(id, vector)
  return { expected, until: `2018-04-0${1 + days}` }
}

function createCount() {
  const byId = new Map<string, Prediction>()
  let doubled = 0
  return {
    clear() {
      byId.clear()
      doubled = 0
    },
    add(prediction: Prediction) {
      if (byId.has(prediction.id)) doubled++
      byId.set(prediction.id, prediction)
    },
    size: () => byId.size,
    doubled: () => doubled,
    all: () => [...byId.values()],
  }
}

async function eventually(holds: () => boolean | Promise<boolean>, what: string, shown: () => unknown): Promise<void> {
  for (const began = Date.now(); !(await holds()); await sleep(50)) {
    if (Date.now() - began > 120_000) throw new Error(`waited in vain for ${what}: ${String(shown())}`)
  }
}

interface Health {
  readonly status: string
  readonly reasons?: ReadonlyArray<{ readonly part: string; readonly reason: string }>
}

/** The process reports which part is missing, and stays alive. */
async function notReady(url: string, part: string): Promise<void> {
  let health: Health = { status: 'not asked' }
  const ask = async () => {
    health = (await (await fetch(`${url}/health/ready`)).json()) as Health
    return health.reasons?.some((reason) => reason.part === part) ?? false
  }
  await eventually(ask, `health to name ${part}`, () => JSON.stringify(health))
  expect((await fetch(`${url}/health/live`)).status).toBe(200)
}

async function ready(url: string): Promise<void> {
  const began = Date.now()
  let health: Health = { status: 'not asked' }
  const ask = async () => {
    health = (await (await fetch(`${url}/health/ready`)).json()) as Health
    return health.status === 'ready'
  }
  await eventually(ask, 'ready', () => JSON.stringify(health))
  console.log(`ready ${((Date.now() - began) / 1_000).toFixed(1)} s after the return`)
}
