/** `millrace plan` on the broker and the store in memory: what each kind of change does, and that nothing is written. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { planCommand } from '../../cli/plan/plan.ts'
import { publishVersion } from '../../online-model/registry/publish-version.ts'
import { parseConfig } from '../../runtime/config/config.ts'
import { identitiesOf } from '../../schemas/plan/feature-identity.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { createPipelineRunner } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'
import { scratchFolder } from './call.ts'

/** Clicks of the pipeline as it was, and a champion that was trained with these of its features. */
async function running(trainedWith: readonly string[] | null) {
  const runner = await createPipelineRunner({
    pipeline: clicksPipeline(),
    partitions: 2,
    startMs: clicksStartMs + 3_600_000,
  })
  const started = runner.start({ group: 'clicks', name: 'worker-1' })
  await runner.sendAll(Array.from({ length: 10 }, (_, n) => click(`c${n}`, `u${n}`, n, { page: `p${n}` })))
  await started.until('all are predicted', () => started.metrics.totals.predictions === 10)
  await started.stop()
  if (trainedWith !== null) {
    const { topic, codec } = runner.plan.models
    const numbers = trainedWith.map(() => 1)
    const version: ModelVersion = {
      kind: 'version',
      version: 'v1',
      createdAtMs: clicksStartMs,
      fingerprint: runner.plan.fingerprint,
      identities: identitiesOf(runner.plan.features),
      seed: 0,
      model: {
        kind: 'logistic',
        features: trainedWith,
        means: numbers,
        scales: numbers,
        weights: numbers,
        intercept: 0,
      },
      metrics: {},
      trainedOn: [],
      parent: null,
      origin: 'manual',
    }
    const more = { previous: null, by: 'a test', reason: 'r', changedAtMs: clicksStartMs }
    await publishVersion(await runner.broker.data.producer(), { topic, codec, version, ...more })
  }
  async function plan(definition: string, json?: string): Promise<string[]> {
    const out: string[] = []
    const env = { KAFKA_BROKERS: 'kafka:9092', REDIS_URL: 'redis://cache:6379' }
    const code = await planCommand(`test/cli/fixtures/${definition}.ts`, json === undefined ? {} : { json }, {
      config: parseConfig(env),
      env,
      terminal: { out: (line) => void out.push(line), err: (line) => void out.push(line) },
      clock: runner.clock,
      random: () => 0.5,
      stopping: { signal: () => new AbortController().signal } as never,
      stdin: () => process.stdin,
      openBroker: () => ({ ...runner.broker, close: async () => undefined }),
      openStore: async () => ({ ...runner.store, close: async () => undefined, server: async () => ({}) as never }),
    })
    expect(code).toBe(0)
    return out
  }
  const ends = async () => {
    const partitions = runner.plan.topics.map(({ topic }) => ({ topic, partition: 0 }))
    return runner.broker.data.bounds(partitions)
  }
  return { runner, plan, ends }
}

const features = ['amount', 'userCount1m', 'userSum', 'lastCount1m', 'refunds']

test('a feature added and one edited that the champion is without: state and champion stay', async () => {
  const { runner, plan, ends } = await running(features)
  const before = await ends()
  const file = join(await scratchFolder(), 'plan.json')
  const out = await plan('clicks-added', file)
  expect(out.slice(0, 4)).toEqual([
    `features: 5 kept, 1 added (hasAmount), 1 changed (guarded), against v1 of definition ${runner.plan.fingerprint}.`,
    'champion: v1 scores on.',
    'state user: kept, 2 partitions.',
    'state page: kept, 2 partitions.',
  ])
  expect(out[4]).toMatch(/^topics: none to be created/)
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
    features: { added: ['hasAmount'], changed: ['guarded'], removed: [] },
    champion: { version: 'v1', misfit: null },
    state: [{ entity: 'user', held: 2, difference: null }, {}],
    create: [],
  })
  expect(await ends()).toEqual(before)
})

test('an edited feature of the champion, and windows that need more facts', async () => {
  const trained = await running([...features, 'guarded'])
  expect((await trained.plan('clicks-added'))[1]).toMatch(
    /^champion: v1 does not fit: feature guarded has changed\. Predictions carry no score until millrace train /,
  )
  const out = await trained.plan('clicks-widened')
  expect(out[0]).toMatch(/^features: 4 kept, 2 changed \(userSum, refunds\), against v1/)
  expect(out[1]).toMatch(/^champion: v1 does not fit: features userSum, refunds have changed\./)
  expect(out[2]).toMatch(/^state user: must be rebuilt, since entity user: retention was .*, is .*: millrace run /)
  expect(out.at(-1)).toMatch(
    /^topic clicks\.page: events were sent without user_sum_clicks_amount_3h\. .*let it finish before you stop it/,
  )
})

test('a window of the last stage that needs more facts is rebuilt in place', async () => {
  const { plan } = await running(features)
  const out = await plan('clicks-widened-last')
  expect(out[3]).toMatch(
    /^state page: must be rebuilt, since entity page: retention was .*, is .*: millrace run .* --rebuild/,
  )
  expect(out.at(-1)).toMatch(/^topics: /)
})

test('a pipeline that has no model yet', async () => {
  const { plan } = await running(null)
  expect((await plan('clicks')).slice(0, 2)).toEqual([
    'features: nothing to compare with, since the registry has no version that records what its features mean.',
    'champion: none; predictions carry no score.',
  ])
})
