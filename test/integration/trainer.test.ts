/**
 * The trainer beside a running pipeline, killed on the way: what was scored is learnt from, versions are published and evaluated, and the
 * routes answer what became of an event.
 */
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { PredictionResponse, TrainerResponse } from '../../online-model/trainer/routes.ts'
import { freePort } from '../../runtime/servers/free-port.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const definition = 'pipelines/card-fraud.ts'
const retryBudget = { timeout: 240_000, interval: 250 }

interface ListedModel {
  readonly version: string
  readonly origin: string
  readonly aliases: readonly string[]
}

test('learns, is killed, continues, and answers what became of an event', { timeout: 600_000 }, async () => {
  const pipeline = await runPipeline('trainer')
  const folder = ownFolder()
  const port = await freePort(undefined, [])
  const environment = {
    ...pipeline.environment,
    MILLRACE_FOLDER: folder,
    MILLRACE_TRAINER_PORT: String(port),
  }
  const run = async (...args: string[]) => {
    const command = startCommand(args, environment)
    expect(await command.exitCode, command.output()).toBe(0)
    return command.output()
  }
  const models = async (): Promise<readonly ListedModel[]> => {
    const file = join(folder, 'models.json')
    await run('models', 'list', definition, '--json', file)
    return readJson<{ versions: readonly ListedModel[] }>(file).versions
  }
  const state = async () => (await (await fetch(`http://127.0.0.1:${port}/trainer`)).json()) as TrainerResponse

  // Eleven days: those before the last week are mature, so that there is something to learn.
  const figures = join(folder, 'produce.json')
  await run('produce', definition, '--source', 'handbook', '--until', '2018-04-12', '--json', figures)
  const { transactions } = readJson<{ byStream: Record<string, number> }>(figures).byStream

  const first = startCommand(['trainer', definition], environment)
  await first.printed('The trainer of')
  await vi.waitFor(async () => expect((await state()).store.matured).toBeGreaterThan(10_000), retryBudget)
  first.child.kill('SIGKILL')
  await first.exitCode

  const second = startCommand(['trainer', definition], environment)
  await second.printed('The trainer of')
  const rows = async () => {
    const { store } = await state()
    return store.rows.waiting + store.rows.matured
  }
  await vi.waitFor(async () => expect(await rows()).toBe(transactions), retryBudget)
  await vi.waitFor(async () => {
    const { store } = await state()
    expect(store.counts).toMatchObject({ predictions: transactions, duplicatePredictions: 0 })
    expect(store.matured).toBe(store.rows.matured)
  }, retryBudget)

  // The learner's days became versions, and each was evaluated: the first that passes is the champion.
  await vi.waitFor(async () => expect((await models()).length).toBeGreaterThan(1), retryBudget)
  const listed = await models()
  expect(new Set(listed.map(({ origin }) => origin))).toContain('continuous')

  // The list is followed by what the trainer knows of them.
  expect(await run('models', 'list', definition)).toContain('as served')

  const unknown = await fetch(`http://127.0.0.1:${port}/predictions/nobody`)
  expect([unknown.status, await unknown.json()]).toMatchObject([404, { error: { code: 'event_unknown' } }])
  const found = (await (await fetch(`http://127.0.0.1:${port}/predictions/1`)).json()) as PredictionResponse
  expect(found).toMatchObject({ id: '1', label: { value: 0, time: null } })
  expect(Object.keys(found.features)).toHaveLength(15)
  expect(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()).toContain('millrace_trainer_matured_rows')

  const asked = await fetch(`http://127.0.0.1:${port}/retrain`, { method: 'POST' })
  expect(asked.status).toBe(202)
  const isRetrained = async () => expect((await models()).map(({ origin }) => origin)).toContain('retrain')
  await Promise.race([vi.waitFor(isRetrained, retryBudget), second.exitCode.then(() => expect.fail(second.output()))])
  second.child.kill('SIGTERM')
  expect(await second.exitCode, second.output()).toBe(0)

  // The store is unlocked now, and holds the same.
  expect(await run('data', definition)).toContain('waiting')
})
