/** The part of the broker suite about transactions and who may no longer make them. */
import { describe, expect, test } from 'vitest'
import type { FetchedPartition, LogRecord, Membership } from '../../runtime/broker.ts'
import {
  type BrokerFixture,
  brief,
  offsetsOf,
  partitions,
  readPartition,
  record,
  unique,
  values,
} from './broker-fixture.ts'

export function brokerTransactionSuite(fixture: BrokerFixture): void {
  const { workerOptions, soloWorker, until } = fixture

  describe('a transaction', () => {
    test('makes records of several topics and offsets with their metadata visible together', async () => {
      const { broker, topic, group, worker, membership } = await soloWorker(2)
      const other = unique('other')
      await broker.admin.ensureTopics([{ topic: other, partitions: 1, config: {} }])
      const metadata = `{"low":3,"größe":"${'x'.repeat(3_000)}"}`
      expect(await worker.committed(partitions(topic, 2))).toEqual([
        { topic, partition: 0, offset: null, metadata: '' },
        { topic, partition: 1, offset: null, metadata: '' },
      ])
      expect(offsetsOf(await broker.groups.committedOffsets(group, partitions(topic, 2)))).toEqual([null, null])
      await worker.transact(
        [record(topic, 0, 'a'), record(topic, 1, 'b'), record(other, 0, 'c'), record(topic, 0, 'd')],
        [
          { topic, partition: 1, offset: 42, metadata },
          { topic, partition: 0, offset: 7, metadata: '' },
        ],
        membership,
      )
      const fetcher = await broker.data.fetcher()
      expect(values(await readPartition(fetcher, { topic, partition: 0 }, 2))).toEqual(['a', 'd'])
      expect(values(await readPartition(fetcher, { topic, partition: 1 }, 1))).toEqual(['b'])
      expect(values(await readPartition(fetcher, { topic: other, partition: 0 }, 1))).toEqual(['c'])
      expect(await worker.committed(partitions(topic, 2))).toEqual([
        { topic, partition: 0, offset: 7, metadata: '' },
        { topic, partition: 1, offset: 42, metadata },
      ])
      // Readers outside the group see them, too, in the order requested.
      expect(await broker.groups.committedOffsets(group, partitions(topic, 2).reverse())).toEqual([
        { topic, partition: 1, offset: 42, metadata },
        { topic, partition: 0, offset: 7, metadata: '' },
      ])
      expect(offsetsOf(await broker.groups.committedOffsets(unique('nobody'), partitions(topic, 2)))).toEqual([
        null,
        null,
      ])
      expect(await broker.groups.committedOffsets(group, [])).toEqual([])
    })

    test('leaves a reader at the end, past its markers', async () => {
      const { broker, topic, worker, membership } = await soloWorker()
      for (let at = 0; at < 3; at++) await worker.transact([record(topic, 0, String(at))], [], membership)
      const fetcher = await broker.data.fetcher()
      const read: LogRecord[] = []
      let offset = 0
      for (let tries = 0; tries < 50; tries++) {
        const [part] = await fetcher.fetch([{ topic, partition: 0, offset }], brief)
        read.push(...part!.records)
        offset = part!.next
        if (read.length === 3 && offset >= part!.stableEnd) break
      }
      const [bound] = await broker.data.bounds([{ topic, partition: 0 }])
      expect(values(read)).toEqual(['0', '1', '2'])
      expect(offset).toBe(bound!.end)
      const [{ records, ...rest }] = (await fetcher.fetch([{ topic, partition: 0, offset }], brief)) as [
        FetchedPartition,
      ]
      expect(records.length).toBe(0)
      expect(rest).toEqual({ topic, partition: 0, from: offset, next: offset, stableEnd: offset, end: offset, age: 0 })
    })

    test('may have only records, only offsets, or nothing', async () => {
      const { broker, topic, worker, membership } = await soloWorker()
      await worker.transact([record(topic, 0, 'a')], [], membership)
      await worker.transact([], [{ topic, partition: 0, offset: 5, metadata: 'm' }], membership)
      await worker.transact([], [], membership)
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['a'])
      expect(await worker.committed(partitions(topic, 1))).toEqual([{ topic, partition: 0, offset: 5, metadata: 'm' }])
    })

    test('may be larger than one request', async () => {
      const { broker, topic, worker, membership } = await soloWorker(2)
      const large = 'y'.repeat(900_000)
      const records = Array.from({ length: 6 }, (_, at) => record(topic, at % 2, `${at}:${large}`))
      await worker.transact(records, [{ topic, partition: 0, offset: 1, metadata: '' }], membership)
      const fetcher = await broker.data.fetcher()
      const heads = async (partition: number) =>
        values(await readPartition(fetcher, { topic, partition }, 3)).map((text) => text.split(':')[0])
      expect(await heads(0)).toEqual(['0', '2', '4'])
      expect(await heads(1)).toEqual(['1', '3', '5'])
    })

    test('that is rejected leaves nothing, and the worker continues', async () => {
      const { broker, topic, worker, membership } = await soloWorker()
      const offset = (metadata: string) => [{ topic, partition: 0, offset: 9, metadata }]
      await worker.transact([record(topic, 0, 'before')], offset('first'), membership)
      await expect(
        worker.transact([record(topic, 0, 'never')], offset('m'.repeat(5_000)), membership),
      ).rejects.toMatchObject({ code: 'transaction_aborted' })
      await expect(worker.transact([record(unique('missing'), 0, 'never')], [], membership)).rejects.toMatchObject({
        code: 'topic_missing',
      })
      expect(await worker.committed(partitions(topic, 1))).toEqual([
        { topic, partition: 0, offset: 9, metadata: 'first' },
      ])
      await worker.transact([record(topic, 0, 'after')], offset('last'), membership)
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 2))).toEqual([
        'before',
        'after',
      ])
      expect(await worker.committed(partitions(topic, 1))).toEqual([
        { topic, partition: 0, offset: 9, metadata: 'last' },
      ])
    })

    test('after transaction, without pause, all are seen in order and once', async () => {
      const { broker, topic, worker, membership } = await soloWorker(2)
      for (let at = 0; at < 30; at++) {
        await worker.transact(
          [record(topic, 0, `${at}a`), record(topic, 1, `${at}b`)],
          [{ topic, partition: 0, offset: at, metadata: String(at) }],
          membership,
        )
      }
      const fetcher = await broker.data.fetcher()
      const expected = (deadLetter: string) => Array.from({ length: 30 }, (_, at) => `${at}${deadLetter}`)
      expect(values(await readPartition(fetcher, { topic, partition: 0 }, 30))).toEqual(expected('a'))
      expect(values(await readPartition(fetcher, { topic, partition: 1 }, 30))).toEqual(expected('b'))
      expect(offsetsOf(await worker.committed(partitions(topic, 1)))).toEqual([29])
    })
  })

  describe('fencing', () => {
    test('a former instance is fenced as soon as its successor exists', async () => {
      const { broker, topic, group, stages, worker, membership } = await soloWorker()
      await worker.transact([record(topic, 0, 'old')], [{ topic, partition: 0, offset: 1, metadata: '' }], membership)
      const successor = await broker.groups.worker(workerOptions(group, 'w', stages))
      expect(successor.owner).not.toBe(worker.owner)
      const late = () =>
        worker.transact([record(topic, 0, 'zombie')], [{ topic, partition: 0, offset: 2, metadata: '' }], membership)
      await expect(late()).rejects.toMatchObject({ code: 'fenced' })
      await expect(late()).rejects.toMatchObject({ code: 'fenced' })
      const taken = await successor.join()
      expect(taken.tasks).toEqual(membership.tasks)
      expect(offsetsOf(await successor.committed(partitions(topic, 1)))).toEqual([1])
      await successor.transact([record(topic, 0, 'new')], [{ topic, partition: 0, offset: 3, metadata: '' }], taken)
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 2))).toEqual([
        'old',
        'new',
      ])
    })

    test('a commit under a former generation is rejected, under the new one it passes', async () => {
      const { broker, topic, group, stages, worker, membership } = await soloWorker(2)
      const newcomer = await broker.groups.worker(workerOptions(group, 'x', stages))
      const theirs = newcomer.join()
      await until('the rebalance is noticed', () => !worker.isCurrent(membership))
      const mine = await worker.join()
      await theirs
      expect(mine.generation).toBeGreaterThan(membership.generation)
      const offsets = [{ topic, partition: 0, offset: 1, metadata: '' }]
      await expect(worker.transact([record(topic, 0, 'stale')], offsets, membership)).rejects.toMatchObject({
        code: 'rebalance',
      })
      await expect(worker.transact([record(topic, 0, 'stale')], [], membership)).rejects.toMatchObject({
        code: 'rebalance',
      })
      expect(offsetsOf(await worker.committed(partitions(topic, 1)))).toEqual([null])
      await worker.transact([record(topic, 0, 'fresh')], offsets, mine)
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['fresh'])
    })

    test('a member that the group no longer knows is rejected', async () => {
      const { broker, topic, group, stages, worker, membership } = await soloWorker()
      const stranger: Membership = { ...membership, memberId: `${membership.memberId}-gone` }
      const offsets = [{ topic, partition: 0, offset: 1, metadata: '' }]
      await expect(worker.transact([record(topic, 0, 'x')], offsets, stranger)).rejects.toMatchObject({
        code: expect.stringMatching(/^(superseded|fenced|rebalance)$/),
      })
      const successor = await broker.groups.worker(workerOptions(group, 'w', stages))
      await successor.transact([record(topic, 0, 'mine')], offsets, await successor.join())
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['mine'])
    })
  })
}
