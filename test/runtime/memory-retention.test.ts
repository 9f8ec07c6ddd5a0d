/** What the memory broker removes when it is full, and what it keeps. A segment of its logs has 1,024 entries or about 1 MB. */
import { expect, test } from 'vitest'
import type { BrokerData } from '../../runtime/broker.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { record } from '../conformance/broker.ts'

const startMs = Date.UTC(2024, 0, 1)
const bytesMax = 4_000_000
const body = 'x'.repeat(500)
const onSecondPartition = 7

/** Topics of two partitions, each written to in turns of 1,000 records, one second apart. */
async function setUp(topics: Readonly<Record<string, Readonly<Record<string, string>>>>) {
  const clock = createVirtualClock(startMs)
  const broker = createMemoryBroker({ clock, bytesMax })
  await broker.admin.ensureTopics(Object.entries(topics).map(([topic, config]) => ({ topic, partitions: 2, config })))
  const producer = await broker.data.producer()
  async function write(topic: string, turns: number): Promise<void> {
    for (let turn = 0; turn < turns; turn++) {
      const records = Array.from({ length: 1_000 }, (_, at) =>
        record(topic, at % 10 === onSecondPartition ? 1 : 0, `${at}${body}`),
      )
      await producer.send(records)
      await clock.sleep(1_000)
    }
  }
  async function consume(topic: string) {
    const stages = [{ stage: 'only', topics: [topic], partitions: 2 }]
    const worker = await broker.groups.worker({
      group: `of ${topic}`,
      worker: 'w',
      stages,
      sessionTimeoutMs: 6_000,
      transactionTimeoutMs: 10_000,
    })
    const membership = await worker.join()
    return (offsets: readonly number[]) =>
      worker.transact(
        [],
        offsets.map((offset, partition) => ({ topic, partition, offset, metadata: '' })),
        membership,
      )
  }
  return { clock, broker, write, consume }
}

async function bounds(broker: BrokerData, topic: string): Promise<Array<readonly [number, number]>> {
  const found = await broker.bounds([0, 1].map((partition) => ({ topic, partition })))
  return found.map(({ start, end }) => [start, end])
}

async function firstTimes(broker: BrokerData, topic: string): Promise<number[]> {
  const from = (await bounds(broker, topic)).map(([start], partition) => ({ topic, partition, offset: start }))
  const fetched = await (await broker.fetcher()).fetch(from, { maxWaitMs: 0, partitionBytesMax: 1 })
  return fetched.map(({ records }) => (records.at(0).appendedAtMs - startMs) / 1_000)
}

test('the oldest records go, in any partition, and the log continues', async () => {
  const { broker, write } = await setUp({ events: {} })
  await write('events', 100)
  const [busy, quiet] = await bounds(broker.data, 'events')
  expect([busy![1], quiet![1]]).toEqual([90_000, 10_000])
  expect(busy![0]).toBeGreaterThan(80_000)
  expect(quiet![0]).toBeGreaterThan(8_000)
  // What is left of both begins at about the same time: a segment of the quiet one spans ten seconds.
  const [busyFrom, quietFrom] = await firstTimes(broker.data, 'events')
  expect(Math.abs(busyFrom! - quietFrom!)).toBeLessThan(12)
  expect(busyFrom!).toBeGreaterThan(85)
})

test('a reader that was left behind learns where the log starts', async () => {
  const { broker, write } = await setUp({ events: {} })
  await write('events', 20)
  const [[start]] = (await bounds(broker.data, 'events')) as [readonly [number, number]]
  const fetcher = await broker.data.fetcher()
  const fetch = (offset: number) =>
    fetcher.fetch([{ topic: 'events', partition: 0, offset }], { maxWaitMs: 0, partitionBytesMax: 1 })
  await expect(fetch(0)).rejects.toMatchObject({
    code: 'log_truncated',
    message: `Offset 0 of events, partition 0, is gone: the log starts at ${start}`,
    details: { start },
  })
  const [part] = await fetch(start)
  expect(part!.records.at(0).offset).toBe(start)
})

test('what a group has not consumed stays: first the write is rejected, after its commit there is room', async () => {
  const { broker, write, consume } = await setUp({ events: {} })
  const commit = await consume('events')
  await expect(write('events', 20)).rejects.toMatchObject({
    code: 'kafka_request_failed',
    message: expect.stringMatching(
      /^The broker in memory holds \d+ bytes that are still needed and takes at most 4000000: use a real Kafka for more$/,
    ),
  })
  const [busy, quiet] = await bounds(broker.data, 'events')
  expect([busy![0], quiet![0]]).toEqual([0, 0])
  await commit([busy![1] - 10, quiet![1]])
  await write('events', 2)
  const [start] = (await bounds(broker.data, 'events'))[0]!
  expect(start).toBeGreaterThan(0)
  expect(start).toBeLessThanOrEqual(busy![1] - 10)
})

test('a group that has stopped keeps its own topic only', async () => {
  const { broker, write, consume } = await setUp({ events: {}, others: {} })
  const commit = await consume('events')
  await write('events', 2)
  await commit([1_100, 0])
  await write('others', 50)
  // Its first segment was consumed; of the second partition nothing was.
  expect(await bounds(broker.data, 'events')).toEqual([
    [1_024, 1_800],
    [0, 200],
  ])
  expect((await bounds(broker.data, 'others'))[0]![0]).toBeGreaterThan(40_000)
})

test.each([{ 'retention.ms': '-1' }, { 'cleanup.policy': 'compact' }])('a topic with %o is kept', async (config) => {
  const { broker, write } = await setUp({ kept: config, events: {} })
  await write('kept', 2)
  await write('events', 50)
  expect((await bounds(broker.data, 'kept'))[0]).toEqual([0, 1_800])
  await expect(write('kept', 10)).rejects.toMatchObject({ code: 'kafka_request_failed' })
  expect((await bounds(broker.data, 'kept'))[0]![0]).toBe(0)
})

test('what is behind an open transaction cannot be consumed yet, and stays', async () => {
  const clock = createVirtualClock(startMs)
  let opened: () => void
  const isOpen = new Promise<void>((resolve) => {
    opened = resolve
  })
  let end: () => void
  const mayEnd = new Promise<void>((resolve) => {
    end = resolve
  })
  const broker = createMemoryBroker({
    clock,
    bytesMax,
    onTransact: async (stage) => {
      if (stage !== 'begin') return
      opened()
      await mayEnd
    },
  })
  await broker.admin.ensureTopics([{ topic: 'events', partitions: 1, config: {} }])
  const stages = [{ stage: 'only', topics: ['events'], partitions: 1 }]
  const worker = await broker.groups.worker({
    group: 'g',
    worker: 'w',
    stages,
    sessionTimeoutMs: 6_000,
    transactionTimeoutMs: 10_000,
  })
  const producer = await broker.data.producer()
  const turn = (partition: number) => Array.from({ length: 1_000 }, () => record('events', partition, body))
  await producer.send(turn(0))
  const membership = await worker.join()
  const transaction = worker.transact(
    turn(0),
    [{ topic: 'events', partition: 0, offset: 9_000, metadata: '' }],
    membership,
  )
  await isOpen
  await expect(
    (async () => {
      for (let at = 0; at < 20; at++) await producer.send(turn(0))
    })(),
  ).rejects.toMatchObject({ code: 'kafka_request_failed' })
  expect(await broker.data.bounds([{ topic: 'events', partition: 0 }])).toMatchObject([{ start: 0, end: 1_000 }])
  end!()
  await transaction
  await producer.send(turn(0))
  const [bound] = await broker.data.bounds([{ topic: 'events', partition: 0 }])
  expect(bound!.start).toBeGreaterThan(1_000)
})
