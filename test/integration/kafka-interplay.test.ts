/**
 * Millrace beside stock clients on one Kafka: what either writes the other reads, and their open and aborted
 * transactions.
 */
import { CompressionTypes, Kafka, logLevel, Partitioners } from 'kafkajs'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import type { Broker, OutRecord } from '../../runtime/broker.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { readPartition, record, unique, values } from '../conformance/broker.ts'

const brokers = inject('kafkaBrokers').split(',')
const stock = new Kafka({ brokers, clientId: 'stock', logLevel: logLevel.NOTHING, retry: { initialRetryTime: 5 } })

async function withTopic(
  partitions = 1,
  config: Record<string, string> = {},
): Promise<{ broker: Broker; topic: string }> {
  const broker = createKafkaBroker({ brokers, clientId: 'millrace-test' })
  onTestFinished(() => broker.close())
  const topic = unique('topic')
  await broker.admin.ensureTopics([{ topic, partitions, config }])
  return { broker, topic }
}

async function stockProducer(options: { transactionalId?: string } = {}) {
  const transactional =
    options.transactionalId === undefined ? {} : { ...options, idempotent: true, maxInFlightRequests: 1 }
  const producer = stock.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...transactional })
  await producer.connect()
  onTestFinished(() => producer.disconnect())
  return producer
}

/** What a stock consumer gets of a topic, `count` messages of it. */
async function stockConsumed(topic: string, count: number) {
  const consumer = stock.consumer({ groupId: unique('stock-group'), maxWaitTimeInMs: 100 })
  await consumer.connect()
  onTestFinished(() => consumer.disconnect())
  await consumer.subscribe({ topic, fromBeginning: true })
  const consumed: Array<{
    partition: number
    key: Buffer | null
    value: Buffer | null
    headers: Record<string, unknown>
  }> = []
  await new Promise<void>((resolve, reject) => {
    consumer
      .run({
        async eachMessage({ partition, message: { key, value, headers } }) {
          consumed.push({ partition, key, value, headers: { ...headers } })
          if (consumed.length === count) resolve()
        },
      })
      .catch(reject)
  })
  return consumed
}

const part = (topic: string, offset = 0) => [{ topic, partition: 0, offset }]
const brief = { maxWaitMs: 200, partitionBytesMax: 1_000_000 }

describe('stock clients', () => {
  test('read what we write, outside and inside of transactions', async () => {
    const { broker, topic } = await withTopic()
    const written: OutRecord[] = [
      {
        topic,
        partition: 0,
        key: Buffer.from('Straße-日本語-🙂'),
        value: Buffer.from('größe'),
        headers: { ü: Buffer.from([0, 255]), b: Buffer.from('2') },
      },
      { topic, partition: 0, key: Buffer.from('tombstone'), value: null },
      { topic, partition: 0, key: null, value: Buffer.alloc(0) },
      { topic, partition: 0, key: Buffer.from('large'), value: Buffer.alloc(900_000, 'abc') },
      ...Array.from({ length: 300 }, (_, at) => record(topic, 0, String(at))),
    ]
    const producer = await broker.data.producer()
    await producer.send(written)
    const stages = [{ stage: 's', topics: [topic], partitions: 1 }]
    const worker = await broker.groups.worker({
      group: unique('g'),
      worker: 'w',
      stages,
      sessionTimeoutMs: 6_000,
      transactionTimeoutMs: 10_000,
    })
    await worker.transact(written, [], await worker.join())
    const consumed = await stockConsumed(topic, 2 * written.length)
    expect(consumed.length).toBe(2 * written.length)
    for (const [at, message] of consumed.entries()) {
      const { key, value, headers } = written[at % written.length]!
      expect(message.key).toEqual(key)
      expect(message.value === null ? null : Buffer.compare(message.value, value ?? Buffer.from('none'))).toBe(
        value === null ? null : 0,
      )
      expect(message.headers).toEqual(headers ?? {})
    }
  })

  test.each([
    ['none', CompressionTypes.None],
    ['gzip', CompressionTypes.GZIP],
  ])('write what we read: %s', async (_, compression) => {
    const { broker, topic } = await withTopic(1, { 'message.timestamp.type': 'CreateTime' })
    const producer = await stockProducer()
    const messages = [
      {
        key: 'a',
        value: 'größe 日本語',
        headers: { one: 'x', two: Buffer.from([0, 128]) },
        timestamp: '1700000000000',
      },
      { key: Buffer.from([0, 255]), value: null, timestamp: '1700000000123' },
      { key: null, value: '', timestamp: '1699999999999' },
      { key: 'large', value: Buffer.alloc(900_000, 'z'), timestamp: '1700000090000' },
    ]
    await producer.send({ topic, messages, compression })
    const read = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 4)
    expect(read.map(({ offset, appendedAtMs }) => [offset, appendedAtMs])).toEqual([
      [0, 1700000000000],
      [1, 1700000000123],
      [2, 1699999999999],
      [3, 1700000090000],
    ])
    expect(read.map(({ key }) => key)).toEqual([Buffer.from('a'), Buffer.from([0, 255]), null, Buffer.from('large')])
    expect(read.slice(0, 3).map(({ value }) => value)).toEqual([Buffer.from('größe 日本語'), null, Buffer.alloc(0)])
    expect(read[3]!.value!.equals(Buffer.alloc(900_000, 'z'))).toBe(true)
    expect({ ...read[0]!.headers }).toEqual({ one: Buffer.from('x'), two: Buffer.from([0, 128]) })
  })

  test('choose the same partition for a key', async () => {
    const { topic } = await withTopic(12)
    const producer = await stockProducer()
    const keys = [
      '',
      'a',
      '21',
      'foobar',
      'Straße-ž-日本語-🙂',
      ...Array.from({ length: 200 }, (_, at) => `customer-${at}`),
    ]
    await producer.send({ topic, messages: keys.slice(1).map((key) => ({ key, value: key })) })
    const consumed = await stockConsumed(topic, keys.length - 1)
    for (const { key, partition } of consumed)
      expect([String(key), partitionOf(key!, 12)]).toEqual([String(key), partition])
  })
})

describe('topics', () => {
  test('take the time of the append by default', async () => {
    const own = await withTopic()
    const given = await withTopic(1, { 'message.timestamp.type': 'CreateTime', 'retention.ms': '3600000' })
    const admin = stock.admin()
    await admin.connect()
    onTestFinished(() => admin.disconnect())
    const settings = async (topic: string) => {
      const names = ['message.timestamp.type', 'retention.ms']
      const { resources } = await admin.describeConfigs({
        includeSynonyms: false,
        resources: [{ type: 2, name: topic, configNames: names }],
      })
      return Object.fromEntries(
        resources[0]!.configEntries.map(({ configName, configValue }) => [configName, configValue]),
      )
    }
    expect(await settings(own.topic)).toMatchObject({ 'message.timestamp.type': 'LogAppendTime' })
    expect(await settings(given.topic)).toEqual({ 'message.timestamp.type': 'CreateTime', 'retention.ms': '3600000' })
    const before = Date.now()
    await (await own.broker.data.producer()).send([record(own.topic, 0, 'now')])
    const [read] = await readPartition(await own.broker.data.fetcher(), { topic: own.topic, partition: 0 }, 1)
    expect(read!.appendedAtMs).toBeGreaterThanOrEqual(before)
    expect(read!.appendedAtMs).toBeLessThanOrEqual(Date.now())
  })
})

describe('transactions of others', () => {
  async function write(
    producer: Awaited<ReturnType<typeof stockProducer>>,
    topic: string,
    text: string,
    end: 'commit' | 'abort',
  ) {
    const transaction = await producer.transaction()
    for (const half of ['1', '2']) await transaction.send({ topic, messages: [{ value: `${text}${half}` }] })
    await transaction[end]()
  }

  test('that were aborted never appear, also two of one producer around a commit, in one fetch', async () => {
    const { broker, topic } = await withTopic()
    const [one, two] = [
      await stockProducer({ transactionalId: unique('t') }),
      await stockProducer({ transactionalId: unique('t') }),
    ]
    await write(one, topic, 'no', 'abort')
    await write(one, topic, 'yes', 'commit')
    await write(two, topic, 'maybe', 'commit')
    await write(one, topic, 'never', 'abort')
    await write(two, topic, 'not', 'abort')
    await (await broker.data.producer()).send([record(topic, 0, 'plain')])
    const fetcher = await broker.data.fetcher()
    const whole = await readPartition(fetcher, { topic, partition: 0 }, 5)
    expect(values(whole)).toEqual(['yes1', 'yes2', 'maybe1', 'maybe2', 'plain'])
    const [answer] = await fetcher.fetch(part(topic), brief)
    expect(values(answer!.records)).toEqual(values(whole))
    expect(answer!.next).toBe(answer!.stableEnd)
    // From the middle of an aborted transaction, as a reader that continues there would fetch.
    const [middle] = await fetcher.fetch(part(topic, 1), brief)
    expect(values(middle!.records)).toEqual(values(whole))
  })

  test('that interleave are distinguished', async () => {
    const { broker, topic } = await withTopic()
    const [one, two] = [
      await stockProducer({ transactionalId: unique('t') }),
      await stockProducer({ transactionalId: unique('t') }),
    ]
    const [lost, kept] = [await one.transaction(), await two.transaction()]
    for (let at = 0; at < 4; at++) {
      await lost.send({ topic, messages: [{ value: `lost${at}` }] })
      await kept.send({ topic, messages: [{ value: `kept${at}` }] })
    }
    await lost.abort()
    await kept.commit()
    const read = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 4)
    expect(values(read)).toEqual(['kept0', 'kept1', 'kept2', 'kept3'])
  })

  test('by another user of the transactional id end a worker: it rejects every call until it is recreated', async () => {
    const { broker, topic } = await withTopic()
    const group = unique('group')
    const options = {
      group,
      worker: 'w',
      stages: [{ stage: 's', topics: [topic], partitions: 1 }],
      sessionTimeoutMs: 6_000,
      transactionTimeoutMs: 10_000,
    }
    const worker = await broker.groups.worker(options)
    const membership = await worker.join()
    // What the coordinator does to a transaction that has timed out looks the same from here.
    await stockProducer({ transactionalId: `${group}/w` }).then(async (thief) => (await thief.transaction()).abort())
    await expect(worker.transact([record(topic, 0, 'x')], [], membership)).rejects.toMatchObject({ code: 'fenced' })
    await expect(worker.transact([record(topic, 0, 'x')], [], membership)).rejects.toMatchObject({
      code: 'fenced',
      message: expect.stringContaining('must be closed and opened again'),
    })
  })
})

describe('failures', () => {
  test('a value that the topic does not accept is rejected with the reason, and the producer continues', async () => {
    const { broker, topic } = await withTopic(1, { 'max.message.bytes': '2000' })
    const producer = await broker.data.producer()
    await expect(producer.send([record(topic, 0, 'x'.repeat(5_000))])).rejects.toMatchObject({
      code: 'kafka_request_failed',
      message: expect.stringMatching(/MESSAGE_TOO_LARGE: raise the topic's max.message.bytes/),
    })
    await producer.send([record(topic, 0, 'small')])
    expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['small'])
  })

  test('a transaction with such a value is aborted, and the worker continues without a gap in its numbers', async () => {
    const { broker, topic } = await withTopic(1, { 'max.message.bytes': '2000' })
    const stages = [{ stage: 's', topics: [topic], partitions: 1 }]
    const timeouts = { sessionTimeoutMs: 6_000, transactionTimeoutMs: 10_000 }
    const worker = await broker.groups.worker({ group: unique('group'), worker: 'w', stages, ...timeouts })
    const membership = await worker.join()
    await worker.transact([record(topic, 0, 'before')], [], membership)
    await expect(worker.transact([record(topic, 0, 'x'.repeat(5_000))], [], membership)).rejects.toMatchObject({
      code: 'transaction_aborted',
      message: expect.stringContaining('MESSAGE_TOO_LARGE'),
    })
    await worker.transact([record(topic, 0, 'after')], [], membership)
    expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 2))).toEqual([
      'before',
      'after',
    ])
  })

  test('a join that waits for others ends at once when the worker is closed', async () => {
    const { broker, topic } = await withTopic()
    const group = unique('group')
    const options = {
      group,
      stages: [{ stage: 's', topics: [topic], partitions: 1 }],
      sessionTimeoutMs: 6_000,
      transactionTimeoutMs: 10_000,
    }
    await (await broker.groups.worker({ ...options, worker: 'sits' })).join()
    const waiting = await broker.groups.worker({ ...options, worker: 'waits' })
    const joining = waiting.join().catch((error) => error)
    await new Promise((resolve) => setTimeout(resolve, 300))
    const closedAt = performance.now()
    await waiting.close()
    expect(await joining).toMatchObject({ code: 'kafka_unreachable' })
    expect(performance.now() - closedAt).toBeLessThan(2_000)
  })

  test('a missing broker is reported at once, with the address', async () => {
    const broker = createKafkaBroker({ brokers: ['127.0.0.1:1'], clientId: 'millrace-test' })
    await expect(broker.admin.clusterId()).rejects.toMatchObject({
      code: 'kafka_unreachable',
      message: expect.stringContaining('127.0.0.1:1'),
    })
    await broker.close()
  })

  test('a configured broker that is away does not matter while another is there', async () => {
    const broker = createKafkaBroker({ brokers: ['127.0.0.1:1', ...brokers], clientId: 'millrace-test' })
    onTestFinished(() => broker.close())
    expect(await broker.admin.clusterId()).toMatch(/\S+/)
  })
})
