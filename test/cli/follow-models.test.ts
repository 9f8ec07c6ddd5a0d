/** The followed registry: up to date at start, read again after a failure that passes, given up after one that does not. */
import { expect, onTestFinished, test } from 'vitest'
import { followModels } from '../../cli/run/follow-models.ts'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import { publishVersion } from '../../online-model/registry/publish-version.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'

const plan = compile(cardFraud)
const features = plan.features.map(({ name }) => name)

async function setUp() {
  const clock = createVirtualClock(0)
  const broker = createMemoryBroker({ clock })
  await ensureTopics(broker.admin, plan, 1)
  onTestFinished(() => broker.close())
  const messages: string[] = []
  const note = (_: object, message: string) => void messages.push(message)
  /** What the next fetches reject with. */
  const failures: unknown[] = []
  const faulty: BrokerData = {
    ...broker.data,
    fetcher: async () => {
      const fetcher = await broker.data.fetcher()
      return {
        close: fetcher.close,
        fetch: async (from, limits) => {
          if (failures.length > 0) throw failures.shift()
          return fetcher.fetch(from, limits)
        },
      }
    },
  }
  let published = 0
  const publish = async () => {
    const version = {
      kind: 'version' as const,
      version: `v${++published}`,
      createdAtMs: 0,
      fingerprint: plan.fingerprint,
      seed: 0,
      model: {
        kind: 'logistic' as const,
        features,
        means: features.map(() => 0),
        scales: features.map(() => 1),
        weights: features.map(() => 0),
        intercept: 0,
      },
      metrics: {},
      trainedOn: [],
      parent: null,
      origin: 'manual' as const,
    }
    const previous = published === 1 ? null : `v${published - 1}`
    const { topic, codec } = plan.models
    await publishVersion(await broker.data.producer(), {
      topic,
      codec,
      version,
      previous,
      by: 'test',
      reason: '',
      changedAtMs: 0,
    })
  }
  const follow = async () => {
    const log = { info: note, warn: note, error: note }
    const models = await followModels({ plan, broker: faulty, clock, log, random: () => 1 })
    onTestFinished(() => models.close())
    return models
  }
  /** Polls every 5 ms of the test's time, for a minute of it. */
  const until = async (holds: () => boolean) => {
    for (let tries = 0; !holds(); tries++) {
      if (tries > 12_000) throw new Error(`it never came to hold: ${holds}`)
      await clock.sleep(5)
    }
  }
  return { publish, follow, until, failures, messages }
}

test('starts with the champion of the log and takes up the next', async () => {
  const { publish, follow, until, messages } = await setUp()
  await publish()
  const models = await follow()
  expect(models.current()?.version).toBe('v1')
  await publish()
  await until(() => models.current()?.version === 'v2')
  expect(messages).toEqual(['champion is v1', 'champion is v2'])
})

test('has no model while there is none', async () => {
  const models = await (await setUp()).follow()
  expect(models.current()).toBeNull()
})

test('scores on through a failure that passes, and is up to date afterwards', async () => {
  const { publish, follow, until, failures, messages } = await setUp()
  await publish()
  const models = await follow()
  failures.push(
    new PipelineError('kafka_unreachable', 'No broker answered.'),
    new PipelineError('kafka_request_failed', 'The leader has moved.'),
  )
  await publish()
  await until(() => failures.length === 0)
  expect(models.current()?.version).toMatch(/^v[12]$/)
  await until(() => models.current()?.version === 'v2')
  expect(messages.filter((message) => message.startsWith('the registry'))).toEqual([
    'the registry could not be read: No broker answered.',
    'the registry could not be read: The leader has moved.',
  ])
})

test('is given up after a failure that does not pass, with that failure', async () => {
  const { publish, follow, failures } = await setUp()
  const models = await follow()
  const foreign = new PipelineError('record_unreadable', 'The registry record is none.')
  failures.push(foreign)
  await publish()
  await expect(models.failed).resolves.toBe(foreign)
})

test('is given up when failures have not passed for five minutes', async () => {
  const { publish, follow, failures } = await setUp()
  const models = await follow()
  const gone = new PipelineError('kafka_unreachable', 'No broker answered.')
  failures.push(...Array<unknown>(200).fill(gone))
  await publish()
  await expect(models.failed).resolves.toMatchObject({ code: 'kafka_unreachable', cause: gone })
  // The first, six while the waits double up to 5 s, and one every 5 s from then on.
  expect(failures).toHaveLength(200 - 66)
})

test('a start that fails is the caller’s', async () => {
  const { publish, follow, failures } = await setUp()
  await publish()
  const gone = new PipelineError('kafka_unreachable', 'No broker answered.')
  failures.push(gone)
  await expect(follow()).rejects.toBe(gone)
})
