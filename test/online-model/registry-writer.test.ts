/** Writing to the registry where others write as well: what holds, what is lost, and what is reported. */
import { expect, onTestFinished, test } from 'vitest'
import { challengers, champion, isRolledBack, lastRejection } from '../../online-model/registry/registry.ts'
import {
  attemptsMax,
  createRegistryWriter,
  type RegistryWriter,
  registryRecordBytesMax,
  type VersionDraft,
} from '../../online-model/registry/writer.ts'
import type { AliasChange, ModelVersion, RegistryRecord } from '../../schemas/wire/records.ts'
import { createLogFake, jsonCodec, type LogFake } from './log-fake.ts'

const topic = 'team.models'
const codec = jsonCodec<RegistryRecord>()
const cause = { by: 'a test', reason: 'because' }

function draft(intercept: number, features: readonly string[] = []): VersionDraft {
  const model = { kind: 'logistic' as const, features, means: [], scales: [], weights: [], intercept }
  return { fingerprint: 'f', seed: 1, model, metrics: {}, trainedOn: [], parent: null, origin: 'retrain' }
}

function setUp(fake = createLogFake({ [topic]: 1 })): { fake: LogFake; writer: RegistryWriter } {
  let nowMs = 1_000
  const writer = createRegistryWriter({ broker: fake.broker, codec, topic, clock: () => nowMs++ })
  onTestFinished(async () => {
    await writer.close()
    expect(fake.open()).toBe(0)
  })
  return { fake, writer }
}

/** Another writer is quicker: these records precede the next one that is sent. */
function before(fake: LogFake, records: () => readonly RegistryRecord[], times = 1): void {
  let left = times
  fake.beforeSend = () => {
    if (left-- <= 0) return
    for (const record of records()) fake.append(topic, 0, codec.encode(record))
  }
}

const rival = (version: string): ModelVersion => ({ kind: 'version', version, createdAtMs: 5, ...draft(9) })
const rivalChange = (alias: string, version: string, previous: string | null): AliasChange => {
  return { kind: 'alias', alias, version, previous, changedAtMs: 5, by: 'rival', reason: 'first', action: 'set' }
}

async function withVersions(count: number) {
  const made = setUp()
  for (let i = 1; i <= count; i++) await made.writer.publish(draft(i))
  return made
}

test('a version that lost its name takes the next one, and is reported which', async () => {
  const { fake, writer } = setUp()
  expect((await writer.publish(draft(1))).version).toBe('v1')
  before(fake, () => [rival('v2'), rival('v3')])
  expect((await writer.publish(draft(2))).version).toBe('v4')
  expect([...writer.state().versions.values()].map(({ model }) => (model as { intercept: number }).intercept)).toEqual([
    1, 9, 9, 2,
  ])
})

test('a name that is always taken first is given up after some tries', async () => {
  const { fake, writer } = setUp()
  let taken = 0
  before(fake, () => [rival(`v${++taken}`)], Number.POSITIVE_INFINITY)
  await expect(writer.publish(draft(1))).rejects.toMatchObject({ code: 'model_conflict' })
  expect(taken).toBe(attemptsMax)
})

test('a version that does not fit into a record is rejected before it is sent', async () => {
  const { fake, writer } = setUp()
  const huge = draft(1, ['x'.repeat(registryRecordBytesMax)])
  await expect(writer.publish(huge)).rejects.toMatchObject({
    code: 'model_too_large',
    message: expect.stringMatching(
      /^The registry record of v1 takes 1000\d\d\d bytes, and the registry takes 1000000 at most/,
    ),
  })
  expect((await fake.broker.bounds([{ topic, partition: 0 }]))[0]?.end).toBe(0)
})

test('a promotion that came second changes nothing, and reports who was first', async () => {
  const { fake, writer } = await withVersions(3)
  expect(await writer.promote('v1', cause)).toMatchObject({ accepted: true })
  before(fake, () => [rivalChange('champion', 'v3', 'v1')])
  const outcome = await writer.promote('v2', { ...cause, instead: 'v1' })
  expect(outcome).toEqual({
    accepted: false,
    first: rivalChange('champion', 'v3', 'v1'),
    why: 'another change came first: rival set champion to v3 at 1970-01-01T00:00:00.005Z (first)',
  })
  expect(champion(writer.state())?.version).toBe('v3')
  // Seen before it is sent, it is not sent at all.
  const { end } = (await fake.broker.bounds([{ topic, partition: 0 }]))[0]!
  expect(await writer.promote('v2', { ...cause, instead: 'v1' })).toMatchObject({ accepted: false })
  expect((await fake.broker.bounds([{ topic, partition: 0 }]))[0]!.end).toBe(end)
})

test('the former champion keeps scoring in shadow under the alias of the one that replaced it', async () => {
  const { writer } = await withVersions(2)
  await writer.promote('v1', cause)
  await writer.challenge('v2', cause)
  await writer.promote('v2', { ...cause, keepsFormer: true })
  expect(writer.state().aliases).toEqual(
    new Map([
      ['champion', 'v2'],
      ['challenger-1', 'v1'],
    ]),
  )
  // Back again, without keeping: the alias of the new champion is free.
  await writer.promote('v1', cause)
  expect(writer.state().aliases).toEqual(new Map([['champion', 'v1']]))
})

test('challengers take the free aliases, and without a free alias fail', async () => {
  const { fake, writer } = await withVersions(6)
  await writer.promote('v1', cause)
  // A rival takes the first alias meanwhile: the next one is as good.
  before(fake, () => [rivalChange('challenger-1', 'v6', null)])
  expect(await writer.challenge('v2', cause)).toMatchObject({ accepted: true, change: { alias: 'challenger-2' } })
  expect(await writer.challenge('v2', cause)).toMatchObject({ accepted: true, change: { alias: 'challenger-2' } })
  await writer.challenge('v3', cause)
  expect(await writer.challenge('v4', cause)).toEqual({
    accepted: false,
    first: null,
    why: 'there are 3 challengers already (v6, v2, v3): dismiss one of them, or name the one to replace',
  })
  expect(await writer.challenge('v4', { ...cause, instead: 'v3' })).toMatchObject({ accepted: true })
  expect(await writer.dismiss('v6', cause)).toMatchObject({ accepted: true, change: { version: null, previous: 'v6' } })
  expect(challengers(writer.state()).map(({ version }) => version)).toEqual(['v2', 'v4'])
  expect(await writer.dismiss('v6', cause)).toMatchObject({ accepted: false, why: 'v6 is no challenger' })
  expect(await writer.challenge('v1', cause)).toMatchObject({ accepted: false, why: 'v1 is the champion' })
})

test('a version that was rolled back is promoted again by a command only', async () => {
  const { writer } = await withVersions(2)
  await writer.promote('v1', cause)
  const back = { ...cause, from: 'v1', fits: () => true }
  expect(await writer.rollback(back)).toMatchObject({ why: 'there is no version before v1 to roll back to' })
  await writer.promote('v2', cause)
  expect(await writer.rollback(back)).toMatchObject({ accepted: false, first: { version: 'v2' } })
  expect(await writer.rollback({ ...back, from: 'v2' })).toMatchObject({ accepted: true, change: { version: 'v1' } })
  expect(isRolledBack(writer.state(), 'v2')).toBe(true)
  expect(await writer.promote('v2', cause)).toMatchObject({
    accepted: false,
    why: 'v2 was rolled back; only a command promotes it again',
  })
  expect(await writer.promote('v2', { ...cause, isExplicit: true })).toMatchObject({ accepted: true })
  expect(isRolledBack(writer.state(), 'v2')).toBe(false)
})

test('a rejection is kept with its reason and figures', async () => {
  const { writer } = await withVersions(2)
  await writer.reject('v2', { ...cause, against: 'v1', figures: { difference: -0.01 } })
  expect(lastRejection(writer.state(), 'v2')).toMatchObject({
    against: 'v1',
    reason: 'because',
    figures: { difference: -0.01 },
  })
})

test('a version that there is none of is named with those that there are', async () => {
  const { writer } = await withVersions(2)
  const expectedError = {
    code: 'model_unknown',
    message: 'The registry team.models has no version v7; its newest are v2, v1.',
  }
  await expect(writer.promote('v7', cause)).rejects.toMatchObject(expectedError)
  await expect(writer.challenge('v7', cause)).rejects.toMatchObject(expectedError)
  await expect(writer.reject('v7', { ...cause, against: null, figures: {} })).rejects.toMatchObject(expectedError)
})
