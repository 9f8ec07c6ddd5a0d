/** The part of the broker suite about the group of workers, and about closing. */
import { describe, expect, test } from 'vitest'
import type { Fetcher, Membership, Task, Worker } from '../../runtime/broker.ts'
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

export function brokerGroupSuite(fixture: BrokerFixture): void {
  const { open, workerOptions, soloWorker, pass, until, untilWithin, openTransaction } = fixture

  describe('the group', () => {
    async function threeMembers() {
      const broker = await open()
      const group = unique('group')
      const topics = ['a1', 'a2', 'b1'].map(unique)
      await broker.admin.ensureTopics(topics.map((topic) => ({ topic, partitions: 4, config: {} })))
      const stages = [
        { stage: 'a', topics: topics.slice(0, 2), partitions: 4 },
        { stage: 'b', topics: topics.slice(2), partitions: 4 },
      ]
      const workers = new Map<string, Worker>()
      const memberships = new Map<string, Membership>()
      for (const member of ['x', 'y', 'z']) {
        const worker = await broker.groups.worker(workerOptions(group, member, stages))
        const joining = worker.join()
        // Those who are there join again as soon as they notice.
        for (const [other, there] of workers) {
          await until(`${other} notices ${member}`, () => !there.isCurrent(memberships.get(other)!))
        }
        const rejoining = [...workers].map(async ([other, there]) => memberships.set(other, await there.join()))
        workers.set(member, worker)
        memberships.set(member, await joining)
        await Promise.all(rejoining)
      }
      return { broker, group, stages, workers, memberships }
    }

    test('deals whole tasks evenly, in all and of each stage', async () => {
      const { workers, memberships } = await threeMembers()
      const tasks = [...memberships.values()].map((membership) => membership.tasks)
      const names = (list: readonly Task[]) => list.map(({ stage, partition }) => `${stage}${partition}`)
      expect(tasks.flatMap(names).sort()).toEqual(['a0', 'a1', 'a2', 'a3', 'b0', 'b1', 'b2', 'b3'])
      expect(tasks.map((list) => list.length).sort()).toEqual([2, 3, 3])
      for (const stage of ['a', 'b']) {
        expect(tasks.map((list) => list.filter((task) => task.stage === stage).length).sort()).toEqual([1, 1, 2])
      }
      for (const [member, worker] of workers) expect(worker.isCurrent(memberships.get(member)!)).toBe(true)
    })

    test('is seen by anybody, with who has which tasks', async () => {
      const { broker, group, memberships } = await threeMembers()
      expect(await broker.groups.describe(unique('nobody'))).toEqual({ state: 'empty', members: [] })
      const { state, members } = await broker.groups.describe(group)
      expect(state).toBe('stable')
      expect(members.map(({ worker }) => worker).sort()).toEqual(['x', 'y', 'z'])
      for (const { worker, host, tasks } of members) {
        expect(host).toMatch(/\S/)
        expect(tasks).toEqual(memberships.get(worker)!.tasks)
      }
    })

    test('gives a restarted member its tasks back without disturbing the others', async () => {
      const { broker, group, stages, workers, memberships } = await threeMembers()
      await workers.get('y')!.close()
      const again = await broker.groups.worker(workerOptions(group, 'y', stages))
      const back = await again.join()
      expect(back.tasks).toEqual(memberships.get('y')!.tasks)
      expect(back.generation).toBe(memberships.get('y')!.generation)
      await pass(1_500)
      for (const member of ['x', 'z']) expect(workers.get(member)!.isCurrent(memberships.get(member)!)).toBe(true)
      expect(again.isCurrent(back)).toBe(true)
    })

    test('deals out the tasks of a member that does not come back; the others keep theirs', async () => {
      const { workers, memberships } = await threeMembers()
      await workers.get('z')!.close()
      const left = ['x', 'y'].map((member) => ({ worker: workers.get(member)!, before: memberships.get(member)! }))
      await until('the session of z ends', () => left.every(({ worker, before }) => !worker.isCurrent(before)))
      const after = await Promise.all(left.map(({ worker }) => worker.join()))
      expect(after.map(({ tasks }) => tasks.length)).toEqual([4, 4])
      for (const [at, { before }] of left.entries())
        expect(after[at]!.tasks).toEqual(expect.arrayContaining([...before.tasks]))
      for (const [at, { worker }] of left.entries()) expect(worker.isCurrent(after[at]!)).toBe(true)
    })

    test('has the tasks of a member that leaves dealt out at once', async () => {
      const { broker, group, workers, memberships } = await threeMembers()
      await workers.get('z')!.leave()
      const left = ['x', 'y'].map((member) => ({ worker: workers.get(member)!, before: memberships.get(member)! }))
      // A quarter of the session that would have to end otherwise.
      await untilWithin(1_500, 'the others notice', () => left.every(({ worker, before }) => !worker.isCurrent(before)))
      const after = await Promise.all(left.map(({ worker }) => worker.join()))
      expect(after.map(({ tasks }) => tasks.length)).toEqual([4, 4])
      for (const [at, { before }] of left.entries())
        expect(after[at]!.tasks).toEqual(expect.arrayContaining([...before.tasks]))
      await workers.get('z')!.close()
      expect((await broker.groups.describe(group)).members.map(({ worker }) => worker).sort()).toEqual(['x', 'y'])
      // The last ones leave nothing behind.
      for (const { worker } of left) await worker.leave()
      expect(await broker.groups.describe(group)).toEqual({ state: 'empty', members: [] })
    })

    test('takes offsets outside a transaction from members of its generation, and what is published with them stays', async () => {
      const { broker, topic, group, worker, membership } = await soloWorker()
      await worker.publish([record(topic, 0, 'a'), record(topic, 0, 'b')])
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 2))).toEqual(['a', 'b'])
      const offsets = [{ topic, partition: 0, offset: 2, metadata: 'here' }]
      await worker.commitOffsets(offsets, membership)
      expect(await broker.groups.committedOffsets(group, [{ topic, partition: 0 }])).toEqual(offsets)
      const former = { ...membership, generation: membership.generation + 1 }
      await expect(worker.commitOffsets([{ ...offsets[0]!, offset: 1 }], former)).rejects.toMatchObject({
        code: 'rebalance',
      })
      expect(await worker.committed([{ topic, partition: 0 }])).toEqual(offsets)
      await expect(worker.publish([record(unique('no'), 0, 'c')])).rejects.toMatchObject({ code: 'topic_missing' })
    })

    test('is not left by one whose name another process has taken', async () => {
      const { broker, group, stages, worker } = await soloWorker()
      const twin = await broker.groups.worker(workerOptions(group, 'w', stages))
      const membership = await twin.join()
      await worker.leave()
      await pass(1_000)
      expect((await broker.groups.describe(group)).members.map(({ worker: name }) => name)).toEqual(['w'])
      expect(twin.isCurrent(membership)).toBe(true)
    })

    test('is rid of a member that does not come back when it is removed, and of its transaction', async () => {
      const { broker, group, stages, topic, worker, membership } = await soloWorker(2)
      const offsets = [{ topic, partition: 0, offset: 4, metadata: 'before' }]
      await worker.transact([record(topic, 0, 'before')], offsets, membership)
      await worker.close()
      await openTransaction(broker, { group, worker: 'w', records: [record(topic, 0, 'half')], offsets })
      const other = await broker.groups.worker(workerOptions(group, 'other', stages))
      const joining = other.join()
      await broker.groups.removeWorker(group, 'w')
      const taken = await joining
      expect(taken.tasks.map(({ partition }) => partition)).toEqual([0, 1])
      expect(offsetsOf(await other.committed(partitions(topic, 1)))).toEqual([4])
      await other.transact([record(topic, 0, 'after')], [], taken)
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 2))).toEqual([
        'before',
        'after',
      ])
      // A missing worker can be removed as well.
      await broker.groups.removeWorker(group, 'w')
      expect((await broker.groups.describe(group)).members.map(({ worker: name }) => name)).toEqual(['other'])
    })

    test('ends the transaction of a removed member as soon as its tasks are reassigned', async () => {
      const { broker, group, stages, topic, worker, membership } = await soloWorker(1)
      await worker.transact([], [{ topic, partition: 0, offset: 4, metadata: '' }], membership)
      await worker.close()
      const positions = [{ topic, partition: 0, offset: 5 }]
      await openTransaction(broker, { group, worker: 'w', records: [record(topic, 0, 'half')], offsets: positions })
      const other = await broker.groups.worker(workerOptions(group, 'other', stages))
      const began = performance.now()
      const taken = await other.join()
      // Its session has ended; its transaction would have had up to twice the time.
      expect(performance.now() - began).toBeLessThan(9_000)
      expect(taken.tasks.length).toBe(1)
      await other.transact([record(topic, 0, 'after')], [], taken)
      expect(offsetsOf(await other.committed(partitions(topic, 1)))).toEqual([4])
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['after'])
    })

    test('a member that was removed and lives joins again, with a new producer', async () => {
      const { broker, group, stages, topic, worker, membership } = await soloWorker()
      await broker.groups.removeWorker(group, 'w')
      await until('it notices', () => !worker.isCurrent(membership))
      const offsets = [{ topic, partition: 0, offset: 1, metadata: '' }]
      // Kafka lets it join and rejects what it writes.
      const continues = worker.join().then((back) => worker.transact([record(topic, 0, 'old')], offsets, back))
      await expect(continues).rejects.toMatchObject({ code: 'fenced' })
      await worker.close()
      const rejoined = await broker.groups.worker(workerOptions(group, 'w', stages))
      await rejoined.transact([record(topic, 0, 'new')], offsets, await rejoined.join())
      expect(values(await readPartition(await broker.data.fetcher(), { topic, partition: 0 }, 1))).toEqual(['new'])
    })

    test('reassigns when a member comes back with another stage', async () => {
      const { broker, group, stages, worker } = await soloWorker(2)
      await worker.close()
      const more = unique('more')
      await broker.admin.ensureTopics([{ topic: more, partitions: 1, config: {} }])
      const extended = [...stages, { stage: 'second', topics: [more], partitions: 1 }]
      const again = await broker.groups.worker(workerOptions(group, 'w', extended))
      expect((await again.join()).tasks).toEqual([
        { stage: 'only', partition: 0 },
        { stage: 'only', partition: 1 },
        { stage: 'second', partition: 0 },
      ])
    })

    test('two workers under one name: the earlier one is notified', async () => {
      const { broker, group, stages, worker, membership } = await soloWorker()
      const twin = await broker.groups.worker(workerOptions(group, 'w', stages))
      await twin.join()
      await until('the earlier one notices', () => !worker.isCurrent(membership))
      await expect(worker.join()).rejects.toMatchObject({ code: 'superseded' })
      const late = worker.transact(
        [],
        [{ topic: stages[0]!.topics[0]!, partition: 0, offset: 1, metadata: '' }],
        membership,
      )
      await expect(late).rejects.toMatchObject({ code: 'superseded' })
      expect((await twin.join()).tasks).toEqual(membership.tasks)
    })
  })

  describe('close', () => {
    test('is one promise, of each part and of the whole', async () => {
      const { broker, topic, worker } = await soloWorker()
      const parts = [await broker.data.fetcher(), await broker.data.producer(), worker]
      const parked = parts[0] as Fetcher
      const waiting = parked
        .fetch([{ topic, partition: 0, offset: 0 }], { maxWaitMs: 20_000, partitionBytesMax: 1_000 })
        .catch((error) => error)
      await pass(50)
      const closedAt = performance.now()
      for (const part of parts) {
        const closing = part.close()
        expect(part.close()).toBe(closing)
        await closing
      }
      const closing = broker.close()
      expect(broker.close()).toBe(closing)
      await closing
      expect(await waiting).toMatchObject({ code: 'kafka_unreachable' })
      expect(performance.now() - closedAt).toBeLessThan(5_000)
      await expect(parked.fetch([{ topic, partition: 0, offset: 0 }], brief)).rejects.toMatchObject({
        code: 'kafka_unreachable',
      })
    })
  })
}
