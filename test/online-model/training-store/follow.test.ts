/** The follower of the training store on the broker in memory. */
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createStoreFollower, type FollowStoreOptions } from '../../../online-model/training-store/follow.ts'
import type { MatureRows, TrainingStore } from '../../../online-model/training-store/store.ts'
import { createMemoryBroker, type MemoryBroker } from '../../../runtime/memory/broker.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { Plan } from '../../../schemas/plan/plan.ts'
import { createVirtualClock } from '../../../testing/virtual-clock.ts'
import { clicksPipeline } from '../../support/clicks.ts'
import { folder, openStore, clicksPlan as plan, prediction, rowLines, startMs } from './store-fixture.ts'

const topics = {
  predictions: plan.predictions.topic,
  label: plan.streams[plan.label.stream]!.topic,
  schemas: plan.schemas.topic,
}
const clock = createVirtualClock(startMs + 86_400_000)

async function openBroker(partitions = 2): Promise<MemoryBroker> {
  const broker = createMemoryBroker({ clock })
  onTestFinished(() => broker.close())
  await broker.admin.ensureTopics(Object.values(topics).map((topic) => ({ topic, partitions, config: {} })))
  return broker
}

async function send(
  broker: MemoryBroker,
  topic: string,
  partition: number,
  value: Buffer | null,
  key: string | null = 'k',
) {
  const producer = await broker.data.producer()
  await producer.send([{ topic, partition, key: key === null ? null : Buffer.from(key), value }])
  await producer.close()
}

async function predict(
  broker: MemoryBroker,
  id: string,
  seconds: number,
  more: { partition?: number; fingerprint?: string } = {},
) {
  const { partition = 0, fingerprint = plan.fingerprint } = more
  const row = prediction(id, seconds, { offset: seconds % 97 })
  const value = plan.predictions.codec.encode({
    ...row.prediction,
    fingerprint,
    origin: { partition: 0, offset: 0 },
    positions: [],
    reasons: [],
  })
  await send(broker, topics.predictions, partition, value, row.key)
}

async function report(broker: MemoryBroker, clickId: string, seconds: number, partition = 0) {
  const at = startMs + seconds * 1_000
  const value = plan.streams[1]!.codec.encode({ clickId, user: 'u', page: 'p', clickedAt: at, at })
  await send(broker, topics.label, partition, value)
}

type Consumer = NonNullable<FollowStoreOptions['handOut']>

function follow(
  broker: FollowStoreOptions['broker'],
  store: TrainingStore,
  { outageMaxMs = 300_000, ...consumer }: Partial<Consumer> & { outageMaxMs?: number } = {},
) {
  const handed: MatureRows[] = []
  const warnings: string[] = []
  const follower = createStoreFollower({
    broker,
    plan,
    store,
    clock,
    log: { warn: (_, message) => warnings.push(message) },
    random: () => 1,
    outageMaxMs,
    handOut: { afterSeq: 0, onMatured: (rows) => void handed.push(rows), ...consumer },
  })
  onTestFinished(() => follower.close())
  const toEnd = async () => {
    for (let quiet = 0; quiet < 2; ) quiet = (await follower.step()).isAtEnd ? quiet + 1 : 0
  }
  return { follower, handed, warnings, toEnd, rowLines: () => handed.flatMap(rowLines) }
}

describe('the follower', () => {
  test('reads both topics, hands out what matures once, and continues from the position of the store', async () => {
    const broker = await openBroker()
    const file = join(folder(), 'store.duckdb')
    const store = await openStore({ file })
    for (let n = 0; n < 20; n++) await predict(broker, `e${n}`, n, { partition: n % 2 })
    await report(broker, 'e3', 100, 1)
    await report(broker, 'e4', 3_610)
    const first = follow(broker.data, store, { rowsMax: 3 })
    expect(await first.follower.step()).toMatchObject({ records: 22, isAtEnd: true, matured: 0 })
    await predict(broker, 'z', 9_000)
    await first.toEnd()
    expect(first.rowLines()).toEqual(Array.from({ length: 11 }, (_, n) => `e${n} ${n} ${n === 3 ? 1 : 0}`))
    expect(first.handed.map(({ rowCount }) => rowCount)).toEqual([3, 3, 3, 2])
    await first.follower.close()
    await store.close()

    await report(broker, 'z', 9_000)
    const again = await openStore({ file })
    const second = follow(broker.data, again, { afterSeq: 11 })
    await second.toEnd()
    expect(second.rowLines()).toEqual(Array.from({ length: 9 }, (_, n) => `e${n + 11} ${n + 11} 0`))
    // A consumer without saved progress gets all of it again.
    const third = follow(broker.data, again)
    await third.follower.step()
    expect(third.rowLines()).toHaveLength(20)
  })

  test('passes over what is of no use and counts it', async () => {
    const broker = await openBroker()
    const store = await openStore()
    await predict(broker, 'a', 1)
    await predict(broker, 'foreign', 2, { fingerprint: 'other' })
    await send(broker, topics.label, 0, Buffer.from('{"clickId":1}'))
    await send(broker, topics.label, 1, null)
    await report(broker, 'ahead', 3 * 86_400)
    await follow(broker.data, store).toEnd()
    expect(store.status()).toMatchObject({
      watermarkMs: Number.NEGATIVE_INFINITY,
      counts: { predictions: 1, foreign: 1, rejectedLabels: 2, labelsAhead: 1, labels: 0 },
    })
    await send(broker, topics.predictions, 1, null)
    await expect(follow(broker.data, store).toEnd()).rejects.toMatchObject({
      code: 'record_unreadable',
      message: 'The prediction at clicks.predictions partition 1 offset 0 has no value.',
    })
  })

  test('takes predictions of an earlier definition without what meant something else there', async () => {
    const broker = await openBroker()
    const store = await openStore()
    const announce = async (other: Plan) => {
      const [key, value] = other.schemas.definition
      await send(broker, topics.schemas, 0, Buffer.from(JSON.stringify(value)), key)
    }
    const wider = compile(clicksPipeline({ over: '20m' }))
    await announce(wider)
    const { toEnd, rowLines } = follow(broker.data, store)
    await predict(broker, 'of this', 1)
    await predict(broker, 'earlier', 2, { fingerprint: wider.fingerprint })
    await predict(broker, 'unknown', 3, { fingerprint: 'unknown' })
    await toEnd()
    // One that begins while the follower runs announces itself before its first prediction.
    const widest = compile(clicksPipeline({ over: '30m' }))
    await announce(widest)
    await predict(broker, 'newer', 4, { fingerprint: widest.fingerprint })
    await predict(broker, 'unknown again', 5, { fingerprint: 'unknown' })
    await report(broker, 'z', 9_000)
    await predict(broker, 'z', 9_000)
    await toEnd()
    expect(store.status().counts).toMatchObject({ predictions: 4, earlier: 2, foreign: 2 })
    expect(rowLines().map((line) => line.split(' ')[0])).toEqual(['of', 'earlier', 'newer'])
    const missing = await store.query('SELECT id FROM matured WHERE userSum IS NULL AND refunds IS NULL ORDER BY id')
    expect(missing).toEqual([['earlier'], ['newer']])
    expect(await store.query('SELECT count(*)::INTEGER FROM matured WHERE userCount1m IS NULL')).toEqual([[0]])
  })

  test('what retention removed before it was read is skipped, logged and counted once', async () => {
    const broker = await openBroker()
    const store = await openStore()
    await predict(broker, 'a', 1)
    const first = follow(broker.data, store)
    await first.toEnd()
    for (const n of [2, 3, 4, 5]) await predict(broker, `e${n}`, n)
    broker.truncate(topics.predictions, 0, 4)
    await first.toEnd()
    expect(store.status().counts).toMatchObject({ passedOver: 3, predictions: 2 })
    expect(first.warnings).toEqual(['training store: records were removed before they were read; they are skipped'])
  })

  test('a log that ends before the store does is reported', async () => {
    const broker = await openBroker()
    const store = await openStore()
    for (const n of [1, 2, 3]) await predict(broker, `e${n}`, n)
    const open = follow(broker.data, store)
    await open.toEnd()
    broker.deleteTopic(topics.predictions)
    await broker.admin.ensureTopics([{ topic: topics.predictions, partitions: 2, config: {} }])
    const message =
      'The training store has read clicks.predictions partition 0 up to offset 3, but its log ends at 0: ' +
      'Kafka lost data. Start with --rebuild to build the store again from what Kafka has.'
    await expect(open.follower.step()).rejects.toMatchObject({ code: 'state_ahead', message })
    await expect(follow(broker.data, store).follower.step()).rejects.toMatchObject({ code: 'state_ahead', message })
  })

  test('waits and continues after failures that pass, and gives up when they do not', async () => {
    const broker = await openBroker()
    const store = await openStore()
    await predict(broker, 'a', 1)
    let failures = 3
    const failing: FollowStoreOptions['broker'] = {
      ...broker.data,
      fetcher: async () => {
        if (failures-- > 0) throw new PipelineError('kafka_unreachable', 'down')
        return broker.data.fetcher()
      },
    }
    const first = follow(failing, store)
    const before = clock.elapsedMs()
    expect(await first.follower.step()).toMatchObject({ records: 0, isAtEnd: false })
    await first.toEnd()
    expect(clock.elapsedMs() - before).toBe(700)
    expect(first.warnings).toEqual(Array(3).fill('training store: down'))
    expect(store.status().counts.predictions).toBe(1)
    failures = 1_000
    const second = follow(failing, store, { outageMaxMs: 20_000 })
    await expect(second.toEnd()).rejects.toMatchObject({ code: 'kafka_unreachable' })
    await expect(follow({ ...failing, partitionCounts: async () => new Map() }, store).toEnd()).rejects.toMatchObject({
      code: 'topic_missing',
    })
  })

  test('an open transaction at the end of a partition holds back what might be labelled by it', async () => {
    const broker = await openBroker()
    const store = await openStore()
    await predict(broker, 'a', 1)
    await predict(broker, 'z', 9_000)
    await report(broker, 'x', 9_000)
    let isOpen = true
    const fetcher: FollowStoreOptions['broker']['fetcher'] = async () => {
      const real = await broker.data.fetcher()
      return {
        close: () => real.close(),
        fetch: async (from, limits) =>
          (await real.fetch(from, limits)).map((part) =>
            isOpen && part.topic === topics.label && part.partition === 1 ? { ...part, end: part.end + 1 } : part,
          ),
      }
    }
    const { toEnd, rowLines } = follow({ ...broker.data, fetcher }, store)
    await toEnd()
    expect(rowLines()).toEqual([])
    isOpen = false
    await toEnd()
    expect(rowLines()).toEqual(['a 1 0'])
  })

  test('a consumer that fails gets the same rows again', async () => {
    const broker = await openBroker(1)
    const store = await openStore()
    for (const n of [1, 2, 3]) await predict(broker, `e${n}`, n)
    await predict(broker, 'z', 9_000)
    await report(broker, 'z', 9_000)
    let isBroken = true
    const handed: string[] = []
    const { toEnd } = follow(broker.data, store, {
      rowsMax: 2,
      onMatured: (rows) => {
        if (isBroken && rows.ids[0] === 'e3') throw new Error('broken')
        handed.push(...rows.ids)
      },
    })
    await expect(toEnd()).rejects.toThrow('broken')
    isBroken = false
    await toEnd()
    expect(handed).toEqual(['e1', 'e2', 'e3'])
  })
})
