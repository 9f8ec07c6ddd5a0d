/** How a running process ends, and how another replaces it: signals, a name or a port used twice, disks without room. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, inject, onTestFinished, test } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import { drainMaxMs } from '../../cli/until-stopped.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { ownServers } from '../support/own-servers.ts'

const definition = 'pipelines/card-fraud.ts'
const listening = 'Features, health and metrics: http'
let runs = 0

function environmentOf(rest: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: `stop-${process.pid}-${++runs}`,
    MILLRACE_HTTP_PORT: '0',
    ...rest,
  }
}

function urlOf(output: string): string {
  return /metrics: (http\S+)/.exec(output)![1]!
}

async function predictionsOf(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(/^millrace_predictions_total\{model="none"\} (\d+)$/m.exec(text)?.[1] ?? 0)
}

async function eventually(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (const began = Date.now(); !(await holds()); await sleep(50)) {
    if (Date.now() - began > 60_000) throw new Error(`waited in vain for ${what}`)
  }
}

test('a second process of the same name takes over; the first one ends with the reason', {
  timeout: 120_000,
}, async () => {
  const environment = environmentOf()
  const first = startCommand(['run', definition, '--create-topics'], environment)
  await first.printed(listening)
  const source = ['--source', 'handbook', '--until', '2018-04-02', '--rate', '600']
  const produce = startCommand(['produce', definition, ...source], environment)
  await eventually(async () => (await predictionsOf(urlOf(first.output()))) > 500, 'predictions of the first')

  const second = startCommand(['run', definition], environment)
  expect(await first.exitCode, first.output()).toBe(1)
  expect(first.output()).toContain(
    `error: Another process works under the name "worker-1" in group ${environment.MILLRACE_NAMESPACE}.card-fraud.\n` +
      'Give every process its own MILLRACE_WORKER. Nothing is lost: the other process continues.',
  )
  expect(await produce.exitCode, produce.output()).toBe(0)

  // Both together predict every event, and no event is predicted twice.
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS!.split(','), clientId: 'takeover' })
  onTestFinished(() => broker.close())
  const ids: string[] = []
  const watched = await watchTopics({
    broker,
    plan: compile(cardFraud, { namespace: environment.MILLRACE_NAMESPACE! }),
    clock: systemClock,
    from: 'start',
    onPrediction: ({ id }) => void ids.push(id),
    onRejection: ({ problems }) => expect.fail(`rejected: ${JSON.stringify(problems)}`),
  })
  await eventually(async () => ids.length >= 9_488, 'every prediction')
  second.child.kill('SIGTERM')
  expect(await second.exitCode, second.output()).toBe(0)
  await sleep(500)
  await watched.close()
  expect(ids.length).toBe(9_488)
  expect(new Set(ids).size).toBe(9_488)
})

test('a taken port is one sentence, and the process that has it continues', async () => {
  const environment = environmentOf()
  const first = startCommand(['run', definition, '--create-topics'], environment)
  await first.printed(listening)
  const port = new URL(urlOf(first.output())).port
  const second = startCommand(['run', definition], {
    ...environment,
    MILLRACE_HTTP_PORT: port,
    MILLRACE_WORKER: 'worker-2',
  })
  expect(await second.exitCode, second.output()).toBe(1)
  expect(second.output()).toContain(`error: Port ${port} of 127.0.0.1 is taken by another process.`)
  expect((await fetch(`${urlOf(first.output())}/health/live`)).status).toBe(200)
  first.child.kill('SIGTERM')
  expect(await first.exitCode, first.output()).toBe(0)
})

test('while Kafka is down SIGTERM ends within the bound, a second SIGINT at once', { timeout: 120_000 }, async () => {
  const { kafka, redis } = await ownServers()
  const rest = { KAFKA_BROKERS: kafka.address, REDIS_URL: redis.address }
  const patient = startCommand(['run', definition, '--create-topics'], environmentOf(rest))
  await patient.printed(listening)
  const hasty = startCommand(['run', definition, '--create-topics'], environmentOf(rest))
  await hasty.printed(listening)
  await kafka.kill()

  const askedMs = performance.now()
  patient.child.kill('SIGTERM')
  hasty.child.kill('SIGINT')
  await hasty.printed('A second signal stops immediately')
  hasty.child.kill('SIGINT')
  expect(await hasty.exitCode, hasty.output()).toBe(130)
  expect(hasty.output()).toContain('Stopped immediately.')
  expect([0, 1], patient.output()).toContain(await patient.exitCode)
  expect(performance.now() - askedMs).toBeLessThan(drainMaxMs + 10_000)
})

test('a file that cannot be written is reported before the work, not after it', async () => {
  const environment = environmentOf()
  const run = startCommand(['run', definition, '--create-topics'], environment)
  await run.printed(listening)
  const folder = ownFolder()
  writeFileSync(join(folder, 'a-file'), '')
  const figures = join(folder, 'a-file', 'figures.json')
  const source = ['--source', 'handbook', '--until', '2018-04-02']
  const refused = startCommand(['produce', definition, ...source, '--json', figures], environment)
  expect(await refused.exitCode, refused.output()).toBe(2)
  expect(refused.output()).toContain(
    `'${figures}' is invalid. Expected a file in a folder that can be written to: ENOTDIR`,
  )
  expect(refused.output()).not.toContain('Sent')
  const written = join(folder, 'figures.json')
  const produce = startCommand(['produce', definition, ...source, '--json', written], environment)
  expect(await produce.exitCode, produce.output()).toBe(0)
  expect(readJson<{ events: number }>(written).events).toBe(9_488)
})
