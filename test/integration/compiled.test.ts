/** What `npm run build` makes, as the image runs it: the same path as from the sources, with packages bundled and a fit in its thread. */
import { expect, inject, onTestFinished, test, vi } from 'vitest'
import type { TrainerResponse } from '../../online-model/trainer/routes.ts'
import { freePort } from '../../runtime/servers/free-port.ts'
import { build, ownFolder, removeBuild, startCompiledCommand } from '../support/command.ts'

const retryBudget = { timeout: 120_000, interval: 250 }

test('the compiled command scores, answers over HTTP and trains', { timeout: 300_000 }, async () => {
  const folder = build()
  onTestFinished(() => removeBuild(folder))
  const definition = `${folder}/pipelines/card-fraud.js`
  const port = await freePort(undefined, [])
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: `compiled-${process.pid}`,
    MILLRACE_FOLDER: ownFolder(),
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_TRAINER_PORT: String(port),
  }
  const start = (...args: string[]) => startCompiledCommand(folder, args, environment)
  const run = start('run', definition, '--create-topics')
  await run.printed('health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const produce = start('produce', definition, '--source', 'handbook', '--until', '2018-04-10')
  expect(await produce.exitCode, produce.output()).toBe(0)

  // Nine days: two of them mature.
  const trainer = start('trainer', definition)
  await trainer.printed('The trainer of')
  const state = async () => (await (await fetch(`http://127.0.0.1:${port}/trainer`)).json()) as TrainerResponse
  await vi.waitFor(async () => expect((await state()).store.matured).toBeGreaterThan(9_000), retryBudget)
  expect((await fetch(`http://127.0.0.1:${port}/retrain`, { method: 'POST' })).status).toBe(202)
  const models = async () => {
    const list = start('models', 'list', definition)
    expect(await list.exitCode, list.output()).toBe(0)
    return list.output()
  }
  await vi.waitFor(async () => expect(await models()).toMatch(/ retrain +mlp/), retryBudget)

  const asked = ['health/live', 'health/ready', 'openapi.json', 'metrics', 'features/customer/596']
  const answers = asked.map(async (path) => `${path} ${(await fetch(`${url}/${path}`)).status}`)
  expect(await Promise.all(answers)).toEqual(asked.map((path) => `${path} 200`))
  for (const command of [trainer, run]) {
    command.child.kill('SIGTERM')
    expect(await command.exitCode, command.output()).toBe(0)
  }
})
