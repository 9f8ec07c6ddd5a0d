import { describe, expect, test } from 'vitest'
import { createRegistryFollower } from '../../online-model/registry/follower.ts'
import { publishVersion } from '../../online-model/registry/publish-version.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { createReasonRows, reasonsOf } from '../../schemas/wire/reason-rows.ts'
import type { ModelVersion, RegistryRecord } from '../../schemas/wire/records.ts'
import { createLogFake, jsonCodec, type LogFake } from './log-fake.ts'

const topic = 'team.models'
const codec = jsonCodec<RegistryRecord>()
const plan: Pick<Plan, 'models' | 'features' | 'fingerprint' | 'model'> = {
  models: { topic: 'models', codec },
  features: [{ name: 'a', identity: 'of a', entity: null, compute: () => 0 }],
  fingerprint: 'print',
  model: { kind: 'logistic', l2: 1 },
}

function version(name: string, intercept: number, fingerprint = 'print', features = ['a']): ModelVersion {
  const numbers = features.map(() => 1)
  return {
    kind: 'version',
    version: name,
    createdAtMs: 1,
    fingerprint,
    seed: 1,
    model: { kind: 'logistic', features, means: numbers, scales: numbers, weights: numbers, intercept },
    metrics: {},
    trainedOn: [],
    parent: null,
    origin: 'manual',
  }
}

async function promote(fake: LogFake, model: ModelVersion, previous: string | null): Promise<void> {
  const producer = await fake.broker.producer()
  await publishVersion(producer, {
    topic,
    codec,
    version: model,
    previous,
    by: 'test',
    reason: 'better',
    changedAtMs: 5,
  })
  await producer.close()
}

function follower(fake: LogFake, printLine: (line: string) => void = () => undefined) {
  return createRegistryFollower({ broker: fake.broker, plan, topic, printLine })
}

describe('registry follower', () => {
  test('reads to the end, page by page, and scores with the champion', async () => {
    const fake = createLogFake({ [topic]: 1 })
    await promote(fake, version('v1', 0), null)
    await promote(fake, version('v2', 2), 'v1')
    await promote(fake, version('v3', 3), 'v1')
    const lines: string[] = []
    const registry = follower(fake, (line) => lines.push(line))
    expect(registry.current()).toBeNull()
    await registry.loadToEnd()
    const scorer = registry.current()
    expect(scorer?.version).toBe('v2')
    expect(scorer?.score([1])).toBe(1 / (1 + Math.exp(-2)))
    expect(registry.state()).toMatchObject({ ignoredVersions: 0, ignoredAliases: 1 })
    expect(registry.state().history[1]).toEqual({
      kind: 'alias',
      alias: 'champion',
      version: 'v2',
      previous: 'v1',
      changedAtMs: 5,
      by: 'test',
      reason: 'better',
      action: 'set',
    })
    expect(lines).toEqual(['champion is v2'])
    await promote(fake, version('v4', 4), 'v2')
    await registry.loadToEnd()
    expect(registry.current()?.version).toBe('v4')
    await registry.close()
    expect(fake.open()).toBe(0)
  })

  test('an empty registry has no champion', async () => {
    const fake = createLogFake({ [topic]: 1 })
    const registry = follower(fake)
    await registry.loadToEnd()
    expect(registry.current()).toBeNull()
    expect(fake.fetches()).toBe(0)
    await registry.close()
  })

  test('follows until it is closed', async () => {
    const fake = createLogFake({ [topic]: 1 })
    await promote(fake, version('v1', 0), null)
    let onSwap: () => void = () => undefined
    const swapped = new Promise<void>((resolve) => {
      onSwap = resolve
    })
    const registry = follower(fake, (line) => line === 'champion is v2' && onSwap())
    await registry.loadToEnd()
    const failures: unknown[] = []
    registry.follow((error) => failures.push(error))
    await promote(fake, version('v2', 1), 'v1')
    await swapped
    expect(registry.current()?.version).toBe('v2')
    const closing = registry.close()
    expect(registry.close()).toBe(closing)
    await closing
    const fetches = fake.fetches()
    await new Promise((done) => setImmediate(() => setImmediate(done)))
    expect(fake.fetches()).toBe(fetches)
    expect(failures).toEqual([])
    expect(fake.open()).toBe(0)
  })

  test('a failure ends following and is handed over once', async () => {
    const fake = createLogFake({ [topic]: 1 })
    const registry = follower(fake)
    fake.failure = new PipelineError('kafka_unreachable', 'no broker answered')
    const failure = await new Promise((resolve) => registry.follow(resolve))
    expect(failure).toBe(fake.failure)
    expect(fake.fetches()).toBe(1)
    await registry.close()
  })

  test('an unreadable record is named by its location', async () => {
    const fake = createLogFake({ [topic]: 1 })
    await promote(fake, version('v1', 0), null)
    fake.append(topic, 0, Buffer.from('{'))
    const registry = follower(fake)
    await expect(registry.loadToEnd()).rejects.toMatchObject({
      code: 'record_unreadable',
      message:
        'The registry record at team.models partition 0 offset 2 is no model version, alias change or note: not JSON.',
    })
    await registry.close()
  })

  test('a champion of another definition does not score, which is reported', async () => {
    const fake = createLogFake({ [topic]: 1 })
    await promote(fake, version('v1', 0, 'other'), null)
    const lines: string[] = []
    const registry = follower(fake, (line) => lines.push(line))
    await registry.loadToEnd()
    expect(registry.current()).toBeNull()
    expect(registry.state().aliases.get('champion')).toBe('v1')
    const sentence =
      'champion v1 does not fit this definition: it was trained on definition other, this one is print. Predictions carry no ' +
      'score until a model is trained on it (docs/evolving.md: how to train it before the switch)'
    expect(lines).toEqual([sentence])
    expect(registry.misfit()).toBe(sentence)
    await promote(fake, version('v2', 0), 'v1')
    await registry.loadToEnd()
    expect(registry.current()?.version).toBe('v2')
    expect(registry.misfit()).toBeNull()
    await registry.close()
  })

  test('a model promoted for another definition before its processes are there leaves the events of this one scored', async () => {
    const fake = createLogFake({ [topic]: 1 })
    await promote(fake, version('v1', 1), null)
    await promote(fake, version('v2', 2), 'v1')
    const lines: string[] = []
    const registry = follower(fake, (line) => lines.push(line))
    await registry.loadToEnd()
    await promote(fake, version('v3', 3, 'other'), 'v2')
    await registry.loadToEnd()
    expect(registry.current()).toMatchObject({ version: 'v2', shadows: [] })
    const sentence =
      'champion v3 does not fit this definition: it was trained on definition other, this one is print. v2, which was the champion ' +
      'before, scores until a process of the other definition takes over, or another model is promoted (docs/evolving.md)'
    expect(lines).toEqual(['champion is v2', sentence])
    expect(registry.misfit()).toBe(sentence)
    await promote(fake, version('v4', 4, 'other'), 'v3')
    await registry.loadToEnd()
    expect(registry.current()?.version).toBe('v2')
    await promote(fake, version('v5', 5), 'v4')
    await registry.loadToEnd()
    expect(registry.current()?.version).toBe('v5')
    expect(registry.misfit()).toBeNull()
    await registry.close()
  })

  test('weights that contradict the definition they name are rejected', async () => {
    const fake = createLogFake({ [topic]: 1 })
    await promote(fake, version('v1', 0, 'print', ['b']), null)
    const registry = follower(fake)
    await expect(registry.loadToEnd()).rejects.toMatchObject({ code: 'state_foreign' })
    await registry.close()
  })

  test('a broker that brings nothing before the stable end is given up', async () => {
    const fake = createLogFake({ [topic]: 1 })
    const broker = { ...fake.broker, bounds: async () => [{ topic, partition: 0, start: 0, end: 7 }] }
    const registry = createRegistryFollower({ broker, plan, topic, printLine: () => undefined })
    await expect(registry.loadToEnd()).rejects.toMatchObject({
      code: 'kafka_request_failed',
      message:
        'Reading team.models partition 0 stopped at offset 0: 120 fetches in a row brought nothing ' +
        'although its stable end is 7. Check the brokers that hold it.',
    })
    await registry.close()
  })

  describe('challengers', () => {
    const challenge = (fake: LogFake, model: ModelVersion | null, slot: number, previous: string | null = null) => {
      const change = { changedAtMs: 6, by: 'test', reason: 'tried', action: 'set' as const }
      if (model !== null) fake.append(topic, 0, codec.encode(model))
      const to = model === null ? null : model.version
      const alias = `challenger-${slot}`
      fake.append(topic, 0, codec.encode({ kind: 'alias', alias, version: to, previous, ...change }))
    }
    const shadowsOf = (registry: ReturnType<typeof follower>) => registry.current()?.shadows.map((one) => one.version)

    test('score beside the champion, and the champion that one becomes names its reasons', async () => {
      const fake = createLogFake({ [topic]: 1 })
      const lines: string[] = []
      const registry = follower(fake, (line) => lines.push(line))
      challenge(fake, version('v1', 1), 1)
      await registry.loadToEnd()
      expect(registry.current()).toBeNull()
      await promote(fake, version('v2', 2), null)
      challenge(fake, version('v3', 3), 2)
      await registry.loadToEnd()
      const batch = registry.current()!
      expect([batch.version, ...batch.shadows.map((one) => one.version)]).toEqual(['v2', 'v1', 'v3'])
      expect(batch.shadows[1]!.score([1])).toBe(1 / (1 + Math.exp(-3)))
      await promote(fake, version('v3', 3), 'v2')
      challenge(fake, null, 1, 'v1')
      await registry.loadToEnd()
      expect([registry.current()?.version, shadowsOf(registry)]).toEqual(['v3', []])
      const reasons = createReasonRows()
      registry.current()!.scoreBatch(Float64Array.of(3), 1, new Float64Array(1), reasons)
      expect(reasonsOf(reasons, 0)).toEqual([{ feature: 'a', contribution: 2 }])
      // What was taken at a batch boundary stays as it was.
      expect(batch.shadows.length).toBe(2)
      expect(lines).toEqual([
        'champion is v2',
        'challengers are v1, v3',
        'champion is v3',
        'there is no challenger any more',
      ])
      await registry.close()
    })

    test('that cannot score here are reported and left out', async () => {
      const fake = createLogFake({ [topic]: 1 })
      await promote(fake, version('v1', 1), null)
      challenge(fake, version('v2', 0, 'other'), 1)
      challenge(fake, version('v3', 0, 'print', ['b']), 2)
      challenge(fake, version('v4', 0), 3)
      const lines: string[] = []
      const registry = follower(fake, (line) => lines.push(line))
      await registry.loadToEnd()
      expect([registry.current()?.version, shadowsOf(registry)]).toEqual(['v1', ['v4']])
      expect(lines[0]).toBe('challenger v2 does not score: it was trained on definition other, this one is print')
      expect(lines[1]).toMatch(
        /^challenger v3 does not score: The model was trained on features that the definition is without: b/,
      )
      // Once, however often the registry changes.
      await promote(fake, version('v5', 1), 'v1')
      await registry.loadToEnd()
      expect(lines.filter((line) => line.includes('does not score')).length).toBe(2)
      await registry.close()
    })
  })
})
