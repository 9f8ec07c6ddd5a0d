/** The part of the broker suite about topics, records and fetches. */
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { OutRecord } from '../../runtime/broker.ts'
import { type BrokerFixture, brief, partitions, readPartition, record, unique, values } from './broker-fixture.ts'

export function brokerLogSuite(fixture: BrokerFixture): void {
  const { open, withTopic, soloWorker, pass, truncate } = fixture

  describe('topics', () => {
    test('are created once, counted, and rejected with another partition count', async () => {
      const broker = await open()
      const topic = unique('topic')
      const missing = unique('missing')
      const spec = { topic, partitions: 3, config: { 'retention.ms': '86400000' } }
      await broker.admin.ensureTopics([spec])
      await broker.admin.ensureTopics([spec])
      expect(await broker.data.partitionCounts([topic, missing])).toEqual(
        new Map([
          [topic, 3],
          [missing, null],
        ]),
      )
      await expect(broker.admin.ensureTopics([{ ...spec, partitions: 4 }])).rejects.toMatchObject({
        code: 'topic_mismatch',
        message: `Topic ${topic} has 3 partitions where 4 are needed`,
      })
    })

    test('may be read and written where no access is denied, and missing topics are not checked', async () => {
      const { broker, topic } = await withTopic(1)
      await broker.admin.requireRights([
        { topic, rights: ['Read', 'Write'] },
        { topic: unique('missing'), rights: ['Write'] },
      ])
    })

    test('take other settings, each alone, and more partitions', async () => {
      const broker = await open()
      const names = ['retention.ms', 'cleanup.policy']
      const [topic, other] = [unique('altered'), unique('altered')]
      await broker.admin.ensureTopics(
        [topic, other].map((name) => ({ topic: name, partitions: 1, config: { 'retention.ms': '1000000' } })),
      )
      await broker.admin.alterTopicSettings([{ topic, config: { 'cleanup.policy': 'compact' } }])
      // What is not named stays as it was.
      await expect
        .poll(() => broker.admin.topicSettings([topic, other], names))
        .toEqual(
          new Map([
            [
              topic,
              new Map([
                ['retention.ms', '1000000'],
                ['cleanup.policy', 'compact'],
              ]),
            ],
            [
              other,
              new Map([
                ['retention.ms', '1000000'],
                ['cleanup.policy', 'delete'],
              ]),
            ],
          ]),
        )
      await broker.admin.addPartitions([{ topic, partitions: 3 }])
      await broker.admin.addPartitions([])
      await broker.admin.alterTopicSettings([])
      expect(await broker.data.partitionCounts([topic, other])).toEqual(
        new Map([
          [topic, 3],
          [other, 1],
        ]),
      )
      const producer = await broker.data.producer()
      await producer.send([{ topic, partition: 2, key: Buffer.from('k'), value: Buffer.from('x') }])
      const missing = [{ topic: unique('missing'), config: { 'retention.ms': '1' } }]
      await expect(broker.admin.alterTopicSettings(missing)).rejects.toMatchObject({ code: 'topic_missing' })
    })

    test('return the requested settings, given ones and defaults', async () => {
      const broker = await open()
      const [plain, given] = [unique('plain'), unique('given')]
      const config = { 'message.timestamp.type': 'CreateTime', 'retention.ms': '86400000', 'cleanup.policy': 'compact' }
      await broker.admin.ensureTopics([
        { topic: plain, partitions: 2, config: {} },
        { topic: given, partitions: 1, config },
      ])
      // What exists keeps its settings.
      await broker.admin.ensureTopics([{ topic: given, partitions: 1, config: { 'retention.ms': '1000' } }])
      const names = ['message.timestamp.type', 'retention.ms', 'cleanup.policy', 'no.such.setting']
      const defaults = {
        'message.timestamp.type': 'LogAppendTime',
        'retention.ms': '604800000',
        'cleanup.policy': 'delete',
      }
      expect(await broker.admin.topicSettings([plain, given], names)).toEqual(
        new Map([
          [plain, new Map(Object.entries(defaults))],
          [given, new Map(Object.entries(config))],
        ]),
      )
      expect(await broker.admin.topicSettings([given], ['retention.ms'])).toEqual(
        new Map([[given, new Map([['retention.ms', '86400000']])]]),
      )
      expect(await broker.admin.topicSettings([given], [])).toEqual(new Map([[given, new Map()]]))
      expect(await broker.admin.topicSettings([], names)).toEqual(new Map())
    })

    test('have bounds that move with what is written', async () => {
      const { broker, topic } = await withTopic(2)
      const producer = await broker.data.producer()
      await producer.send([record(topic, 1, 'a'), record(topic, 1, 'b')])
      expect(await broker.data.bounds(partitions(topic, 2))).toEqual([
        { topic, partition: 0, start: 0, end: 0 },
        { topic, partition: 1, start: 0, end: 2 },
      ])
    })

    test('return the offset from which on they hold what was appended since a time', async () => {
      const { broker, topic } = await withTopic(2)
      const producer = await broker.data.producer()
      await producer.send([record(topic, 1, 'a'), record(topic, 1, 'b')])
      await pass(20)
      await producer.send([record(topic, 1, 'c'), record(topic, 1, 'd')])
      const [a, , c] = await readPartition(await broker.data.fetcher(), { topic, partition: 1 }, 4)
      const at = async (timeMs: number) =>
        (await broker.data.offsetsAt(partitions(topic, 2), timeMs)).map(({ offset }) => offset)
      expect(await at(0)).toEqual([0, 0])
      expect(await at(-1)).toEqual([0, 0])
      expect(await at(a!.appendedAtMs)).toEqual([0, 0])
      expect(await at(a!.appendedAtMs + 1)).toEqual([0, 2])
      expect(await at(c!.appendedAtMs)).toEqual([0, 2])
      expect(await at(c!.appendedAtMs + 1)).toEqual([0, 4])
      expect(await broker.data.offsetsAt([{ topic, partition: 1 }], c!.appendedAtMs)).toEqual([
        { topic, partition: 1, offset: 2 },
      ])
    })

    test('that do not exist are named', async () => {
      const { broker, topic } = await withTopic(1)
      const missing = unique('missing')
      const fetcher = await broker.data.fetcher()
      const producer = await broker.data.producer()
      const code = 'topic_missing'
      await expect(broker.data.bounds([{ topic: missing, partition: 0 }])).rejects.toMatchObject({ code })
      await expect(broker.data.offsetsAt([{ topic: missing, partition: 0 }], 0)).rejects.toMatchObject({ code })
      await expect(broker.admin.topicSettings([topic, missing], ['retention.ms'])).rejects.toMatchObject({ code })
      await expect(producer.send([record(missing, 0, 'x')])).rejects.toMatchObject({ code })
      await expect(producer.send([record(topic, 7, 'x')])).rejects.toMatchObject({ code })
      await expect(fetcher.fetch([{ topic: missing, partition: 0, offset: 0 }], brief)).rejects.toMatchObject({
        code,
      })
      await producer.send([record(topic, 0, 'after')])
      expect(values(await readPartition(fetcher, { topic, partition: 0 }, 1))).toEqual(['after'])
    })

    test('belong to a cluster with a steady id', async () => {
      const broker = await open()
      const id = await broker.admin.clusterId()
      expect(id).toMatch(/\S+/)
      expect(await broker.admin.clusterId()).toBe(id)
    })
  })

  describe('records', () => {
    test.each(['outside', 'inside'])('come back as they were written, %s of a transaction', async (where) => {
      const { broker, topic, worker, membership } = await soloWorker()
      const large = Buffer.alloc(900_000, 'Größe ')
      const written: OutRecord[] = [
        { topic, partition: 0, key: Buffer.from('Straße-日本語-🙂'), value: Buffer.from('{"größe":1}') },
        { topic, partition: 0, key: Buffer.from('tombstone'), value: null },
        { topic, partition: 0, key: null, value: Buffer.alloc(0) },
        { topic, partition: 0, key: Buffer.alloc(0), value: Buffer.from([0, 255, 128, 10]) },
        {
          topic,
          partition: 0,
          key: Buffer.from('headers'),
          value: Buffer.from('h'),
          headers: { origin: Buffer.from('a:1'), leer: Buffer.alloc(0), ünï: Buffer.from([1, 2, 255]) },
        },
        { topic, partition: 0, key: Buffer.from('large'), value: large },
      ]
      if (where === 'inside') await worker.transact(written, [], membership)
      else await (await broker.data.producer()).send(written)
      const read = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, written.length)
      expect(read.map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4, 5])
      for (const [at, { key, value, headers }] of read.entries()) {
        expect(key).toEqual(written[at]!.key)
        expect(value?.equals(written[at]!.value ?? Buffer.from('null')) ?? null).toBe(
          written[at]!.value === null ? null : true,
        )
        expect({ ...headers }).toEqual(written[at]!.headers ?? {})
      }
    })

    test('keep their order within a partition, over many concurrent sends', async () => {
      const { broker, topic } = await withTopic(3)
      const producer = await broker.data.producer()
      const sends = Array.from({ length: 200 }, (_, at) => producer.send([record(topic, at % 3, String(at))]))
      await Promise.all(sends)
      const fetcher = await broker.data.fetcher()
      for (let partition = 0; partition < 3; partition++) {
        const expected = [...Array(200).keys()].filter((at) => at % 3 === partition).map(String)
        expect(values(await readPartition(fetcher, { topic, partition }, expected.length))).toEqual(expected)
      }
    })

    test('that are more than one request carries arrive whole and in order', async () => {
      const { broker, topic } = await withTopic()
      const producer = await broker.data.producer()
      const body = 'x'.repeat(1_000)
      await producer.send(Array.from({ length: 3_000 }, (_, at) => record(topic, 0, `${at}:${body}`)))
      const read = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 3_000)
      expect(read.map(({ value }) => Number(String(value).split(':')[0]))).toEqual([...Array(3_000).keys()])
    })

    test('carry the time of their arrival, never going back', async () => {
      const { broker, topic } = await withTopic()
      const producer = await broker.data.producer()
      await producer.send([record(topic, 0, 'a')])
      await pass(20)
      await producer.send([record(topic, 0, 'b')])
      const [a, b] = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 2)
      expect(b!.appendedAtMs).toBeGreaterThan(a!.appendedAtMs)
    })

    test("carry the broker's time, regardless of the writer's clock", async () => {
      const yearMs = 31_536_000_000
      const { now } = Date
      const wrongClock = vi.spyOn(Date, 'now').mockImplementation(() => now() - 10 * yearMs)
      onTestFinished(() => wrongClock.mockRestore())
      const { broker, topic, worker, membership } = await soloWorker()
      await (await broker.data.producer()).send([record(topic, 0, 'outside')])
      await worker.transact([record(topic, 0, 'inside')], [], membership)
      wrongClock.mockRestore()
      await (await broker.data.producer()).send([record(topic, 0, 'reference')])
      const [outside, inside, reference] = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 3)
      expect(inside!.appendedAtMs).toBeGreaterThanOrEqual(outside!.appendedAtMs)
      expect(reference!.appendedAtMs).toBeGreaterThanOrEqual(inside!.appendedAtMs)
      expect(reference!.appendedAtMs - outside!.appendedAtMs).toBeLessThan(3_600_000)
    })
  })

  describe('a fetch', () => {
    test('answers every requested partition, also those with nothing new', async () => {
      const { broker, topic } = await withTopic(2)
      const producer = await broker.data.producer()
      await producer.send([record(topic, 1, 'a'), record(topic, 1, 'b')])
      const fetcher = await broker.data.fetcher()
      const from = [
        { topic, partition: 0, offset: 0 },
        { topic, partition: 1, offset: 1 },
      ]
      const answer = await fetcher.fetch(from, brief)
      answer.sort((a, b) => a.partition - b.partition)
      expect(answer.map(({ records, ...rest }) => ({ ...rest, values: values(records) }))).toEqual([
        { topic, partition: 0, from: 0, next: 0, stableEnd: 0, end: 0, age: 0, values: [] },
        { topic, partition: 1, from: 1, next: 2, stableEnd: 2, end: 2, age: 0, values: ['b'] },
      ])
    })

    test('of nothing answers nothing', async () => {
      const broker = await open()
      expect(await (await broker.data.fetcher()).fetch([], brief)).toEqual([])
    })

    test('waits, and ends as soon as something arrives', async () => {
      const { broker, topic } = await withTopic(2)
      const fetcher = await broker.data.fetcher()
      const producer = await broker.data.producer()
      const waiting = fetcher.fetch(
        partitions(topic, 2).map((partition) => ({ ...partition, offset: 0 })),
        { maxWaitMs: 20_000, partitionBytesMax: 1_000_000 },
      )
      await pass(50)
      const sentAt = performance.now()
      await producer.send([record(topic, 1, 'now')])
      const answer = await waiting
      expect(performance.now() - sentAt).toBeLessThan(5_000)
      expect(answer.flatMap(({ records }) => values(records))).toEqual(['now'])
    })

    test('with few bytes continues from where it stopped and loses nothing', async () => {
      const { broker, topic } = await withTopic(2)
      const producer = await broker.data.producer()
      for (let at = 0; at < 20; at++) {
        await producer.send(
          [0, 1].map((partition) => record(topic, partition, `${partition}.${at} ${'x'.repeat(500)}`)),
        )
      }
      const fetcher = await broker.data.fetcher()
      const offsets = [0, 0]
      const read: string[][] = [[], []]
      for (let tries = 0; tries < 100 && read.flat().length < 40; tries++) {
        const from = offsets.map((offset, partition) => ({ topic, partition, offset }))
        for (const part of await fetcher.fetch(from, { maxWaitMs: 100, partitionBytesMax: 700 })) {
          read[part.partition]!.push(...values(part.records).map((text) => text.split(' ')[0]!))
          offsets[part.partition] = part.next
        }
      }
      expect(read).toEqual([0, 1].map((partition) => Array.from({ length: 20 }, (_, at) => `${partition}.${at}`)))
    })

    test('of an offset beyond the end of the log is rejected', async () => {
      const { broker, topic } = await withTopic()
      const fetcher = await broker.data.fetcher()
      await expect(fetcher.fetch([{ topic, partition: 0, offset: 5 }], brief)).rejects.toMatchObject({
        code: 'log_truncated',
        message: expect.stringContaining(`Offset 5 of ${topic}, partition 0, lies beyond the end of the log at 0`),
      })
    })
  })

  describe('retention', () => {
    test('removes the beginning of a log: a reader from before it learns where the log starts', async () => {
      const { broker, topic } = await withTopic()
      const producer = await broker.data.producer()
      await producer.send(Array.from({ length: 10 }, (_, at) => record(topic, 0, String(at))))
      await truncate({ topic, partition: 0 }, 4)
      expect(await broker.data.bounds([{ topic, partition: 0 }])).toEqual([{ topic, partition: 0, start: 4, end: 10 }])
      const fetcher = await broker.data.fetcher()
      await expect(fetcher.fetch([{ topic, partition: 0, offset: 3 }], brief)).rejects.toMatchObject({
        code: 'log_truncated',
        message: `Offset 3 of ${topic}, partition 0, is gone: the log starts at 4`,
        details: { topic, partition: 0, offset: 3, start: 4 },
      })
      const [part] = await fetcher.fetch([{ topic, partition: 0, offset: 4 }], brief)
      expect(values(part!.records)).toEqual(['4', '5', '6', '7', '8', '9'])
    })

    test('of all there is leaves an empty log that continues where it ended', async () => {
      const { broker, topic } = await withTopic()
      const producer = await broker.data.producer()
      await producer.send([record(topic, 0, 'a'), record(topic, 0, 'b')])
      await truncate({ topic, partition: 0 }, 2)
      expect(await broker.data.bounds([{ topic, partition: 0 }])).toEqual([{ topic, partition: 0, start: 2, end: 2 }])
      const fetcher = await broker.data.fetcher()
      const parked = fetcher.fetch([{ topic, partition: 0, offset: 2 }], { ...brief, maxWaitMs: 20_000 })
      await producer.send([record(topic, 0, 'c')])
      const [part] = await parked
      expect(Array.from(part!.records, ({ offset, value }) => [offset, String(value)])).toEqual([[2, 'c']])
    })

    test('leaves what groups have committed: a reader that continues from there gets an error', async () => {
      const { broker, topic, worker, membership } = await soloWorker()
      const producer = await broker.data.producer()
      await producer.send(Array.from({ length: 6 }, (_, at) => record(topic, 0, String(at))))
      await worker.transact([], [{ topic, partition: 0, offset: 2, metadata: 'at 2' }], membership)
      await truncate({ topic, partition: 0 }, 5)
      expect(await worker.committed([{ topic, partition: 0 }])).toEqual([
        { topic, partition: 0, offset: 2, metadata: 'at 2' },
      ])
      const fetcher = await broker.data.fetcher()
      await expect(fetcher.fetch([{ topic, partition: 0, offset: 2 }], brief)).rejects.toMatchObject({
        code: 'log_truncated',
      })
    })
  })
}
