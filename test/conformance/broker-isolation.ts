/** The part of the broker suite about the transactions of others: what a reader sees of them, and when. */
import { describe, expect, test } from 'vitest'
import { type BrokerFixture, brief, partitions, readPartition, record, unique, values } from './broker-fixture.ts'

export function brokerIsolationSuite(fixture: BrokerFixture): void {
  const { withTopic, workerOptions, pass, openTransaction } = fixture

  /** Opens a transaction in a group of its own that writes to one partition. */
  function writing(broker: Parameters<typeof openTransaction>[0], topic: string, texts: readonly string[]) {
    const records = texts.map((text) => record(topic, 0, text))
    return openTransaction(broker, { group: unique('group'), worker: unique('w'), records, offsets: [] })
  }

  describe('read_committed', () => {
    test('never shows what was aborted, wherever a reader begins', async () => {
      const { broker, topic } = await withTopic()
      for (const [text, end] of [
        ['no', 'abort'],
        ['yes', 'commit'],
        ['never', 'abort'],
        ['maybe', 'commit'],
        ['not', 'abort'],
      ] as const) {
        await (await writing(broker, topic, [`${text}1`, `${text}2`]))[end]()
      }
      await (await broker.data.producer()).send([record(topic, 0, 'plain')])
      const fetcher = await broker.data.fetcher()
      const whole = await readPartition(fetcher, { topic, partition: 0 }, 5)
      expect(values(whole)).toEqual(['yes1', 'yes2', 'maybe1', 'maybe2', 'plain'])
      // Offsets: two records and a marker each, then the plain one.
      expect(whole.map(({ offset }) => offset)).toEqual([3, 4, 9, 10, 15])
      for (const [from, first] of [
        [1, 'yes1'],
        [7, 'maybe1'],
        [13, 'plain'],
      ] as const) {
        const [part] = await fetcher.fetch([{ topic, partition: 0, offset: from }], brief)
        expect(values(part!.records)[0]).toBe(first)
        expect([part!.next, part!.stableEnd]).toEqual([16, 16])
      }
    })

    test('distinguishes nested transactions', async () => {
      const { broker, topic } = await withTopic()
      const producer = await broker.data.producer()
      const lost = await writing(broker, topic, ['lost1', 'lost2'])
      await producer.send([record(topic, 0, 'plain1')])
      const kept = await writing(broker, topic, ['kept1', 'kept2'])
      await producer.send([record(topic, 0, 'plain2')])
      await lost.abort()
      await kept.commit()
      const read = await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 4)
      expect(values(read)).toEqual(['plain1', 'kept1', 'kept2', 'plain2'])
    })
  })

  describe('an open transaction', () => {
    test('holds the stable end back; a parked fetch answers when it ends', async () => {
      const { broker, topic } = await withTopic()
      const producer = await broker.data.producer()
      await producer.send([record(topic, 0, 'before')])
      const transaction = await writing(broker, topic, ['inside'])
      await producer.send([record(topic, 0, 'behind')])
      const fetcher = await broker.data.fetcher()
      const [held] = await fetcher.fetch([{ topic, partition: 0, offset: 0 }], brief)
      expect([values(held!.records), held!.next, held!.stableEnd]).toEqual([['before'], 1, 1])
      // Before it ends it has no marker.
      expect(held!.end).toBe(3)
      expect(await broker.data.bounds([{ topic, partition: 0 }])).toEqual([{ topic, partition: 0, start: 0, end: 1 }])
      const parked = fetcher.fetch([{ topic, partition: 0, offset: 1 }], { ...brief, maxWaitMs: 20_000 })
      await transaction.commit()
      expect(values((await parked)[0]!.records)).toEqual(['inside', 'behind'])
    })

    test.each([
      ['commit', 6],
      ['abort', 5],
    ] as const)('makes the committed offsets wait; after its %s they are told', async (end, expected) => {
      const { broker, topic } = await withTopic()
      const group = unique('group')
      const offset = (to: number) => [{ topic, partition: 0, offset: to }]
      const open = (to: number) =>
        openTransaction(broker, { group, worker: unique('other'), records: [], offsets: offset(to) })
      await (await open(5)).commit()
      const stages = [{ stage: 'only', topics: [topic], partitions: 1 }]
      const worker = await broker.groups.worker(workerOptions(group, 'w', stages))
      const transaction = await open(6)
      let isAnswered = false
      const asked = worker.committed(partitions(topic, 1)).finally(() => {
        isAnswered = true
      })
      await pass(500)
      expect(isAnswered).toBe(false)
      await transaction[end]()
      expect(await asked).toEqual([{ topic, partition: 0, offset: expected, metadata: '' }])
    })

    test('of a dead worker is aborted by the one that comes under its name', async () => {
      const { broker, topic } = await withTopic()
      const group = unique('group')
      const offsets = [{ topic, partition: 0, offset: 3 }]
      await openTransaction(broker, { group, worker: 'w', records: [record(topic, 0, 'half')], offsets })
      await (await broker.data.producer()).send([record(topic, 0, 'behind')])
      const stages = [{ stage: 'only', topics: [topic], partitions: 1 }]
      const successor = await broker.groups.worker(workerOptions(group, 'w', stages))
      expect(await successor.committed(partitions(topic, 1))).toEqual([
        { topic, partition: 0, offset: null, metadata: '' },
      ])
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['behind'])
    })
  })
}
