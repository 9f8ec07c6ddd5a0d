/** The memory broker: the suite of all brokers, and what only it can do on command. */
import { expect, test } from 'vitest'
import type { Broker, Worker } from '../../runtime/broker.ts'
import { createMemoryBroker, type MemoryBroker, type MemoryBrokerOptions } from '../../runtime/memory/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { brokerSuite, record, unique, values } from '../conformance/broker.ts'
import type { OpenTransaction, TransactionToOpen } from '../conformance/broker-fixture.ts'

const startMs = Date.UTC(2024, 0, 1)
const suiteClock = createVirtualClock(startMs)
const brokers = new Map<string, MemoryBroker>()

/** Transactions that a test holds open, by worker: with signals for their begin and end. */
const holds = new Map<string, { readonly begun: () => void; readonly end: Promise<Error | null> }>()

async function hold(stage: 'begin' | 'committed', worker: string): Promise<void> {
  const held = stage === 'begin' ? holds.get(worker) : undefined
  if (!held) return
  holds.delete(worker)
  held.begun()
  const failure = await held.end
  if (failure) throw failure
}

async function openTransaction(broker: Broker, transaction: TransactionToOpen): Promise<OpenTransaction> {
  const { group, worker: name, records, offsets } = transaction
  const topics = [...new Set([...records, ...offsets].map(({ topic }) => topic))]
  const stages = [{ stage: 'only', topics, partitions: 1 }]
  const timeouts = { sessionTimeoutMs: 6_000, transactionTimeoutMs: 10_000 }
  const worker = await broker.groups.worker({ group, worker: name, stages, ...timeouts })
  const membership = await worker.join()
  const unnamed = offsets.map((offset) => ({ ...offset, metadata: '' }))
  let end!: (failure: Error | null) => void
  let outcome!: Promise<string>
  await new Promise<void>((begun) => {
    holds.set(name, {
      begun,
      end: new Promise((resolve) => {
        end = resolve
      }),
    })
    outcome = worker.transact(records, unnamed, membership).then(
      () => 'committed',
      (error: Error) => error.message,
    )
  })
  return {
    async commit() {
      end(null)
      expect(await outcome).toBe('committed')
    },
    async abort() {
      end(new Error('aborted'))
      expect(await outcome).toBe('aborted')
    },
  }
}

brokerSuite(
  'memory',
  () => {
    const broker = createMemoryBroker({ clock: suiteClock, onTransact: hold })
    return {
      ...broker,
      admin: {
        ...broker.admin,
        ensureTopics: async (specs) => {
          for (const { topic } of specs) brokers.set(topic, broker)
          await broker.admin.ensureTopics(specs)
        },
      },
    }
  },
  {
    truncate: async ({ topic, partition }, before) => brokers.get(topic)!.truncate(topic, partition, before),
    openTransaction,
    pass: (ms) => suiteClock.sleep(ms),
  },
)

const topic = 'events'
const patient = { maxWaitMs: 1_000, partitionBytesMax: 1_000_000 }

async function setUp(options: Partial<MemoryBrokerOptions> = {}) {
  const clock = createVirtualClock(startMs)
  const broker = createMemoryBroker({ clock, ...options })
  await broker.admin.ensureTopics([{ topic, partitions: 1, config: {} }])
  const group = unique('group')
  const worker = (name: string): Promise<Worker> =>
    broker.groups.worker({
      group,
      worker: name,
      stages: [{ stage: 'only', topics: [topic], partitions: 1 }],
      sessionTimeoutMs: 6_000,
      transactionTimeoutMs: 10_000,
    })
  const fetcher = await broker.data.fetcher()
  const fetch = async (offset: number) => {
    const [part] = await fetcher.fetch([{ topic, partition: 0, offset }], patient)
    return { values: values(part!.records), next: part!.next, stableEnd: part!.stableEnd }
  }
  return { clock, broker, worker, fetch }
}

const offsetTo = (offset: number) => [{ topic, partition: 0, offset, metadata: `at ${offset}` }]

test('records carry the time of the clock that is handed in', async () => {
  const { clock, broker } = await setUp()
  const producer = await broker.data.producer()
  await producer.send([record(topic, 0, 'a')])
  await clock.sleep(1_500)
  await producer.send([record(topic, 0, 'b')])
  const [part] = await (await broker.data.fetcher()).fetch([{ topic, partition: 0, offset: 0 }], patient)
  expect([...part!.records].map(({ appendedAtMs }) => appendedAtMs - startMs)).toEqual([0, 1_500])
})

test('a fetch of nothing waits as long as requested, by the given clock', async () => {
  const { clock, fetch } = await setUp()
  expect(await fetch(0)).toEqual({ values: [], next: 0, stableEnd: 0 })
  expect(clock.elapsedMs()).toBe(1_000)
})

test('markers take offsets, and a reader skips them', async () => {
  const { worker, fetch } = await setUp()
  const w = await worker('w')
  const membership = await w.join()
  await w.transact([record(topic, 0, 'a')], [], membership)
  await w.transact([record(topic, 0, 'b')], [], membership)
  expect(await fetch(0)).toEqual({ values: ['a', 'b'], next: 4, stableEnd: 4 })
})

test('an open transaction holds readers and committed offsets back until a successor ends it', async () => {
  let hang: () => void
  const hanging = new Promise<void>((resolve) => {
    hang = resolve
  })
  let transactions = 0
  const { broker, worker, fetch } = await setUp({
    onTransact: async (stage) => {
      if (stage !== 'begin' || ++transactions < 2) return
      hang()
      await new Promise(() => undefined)
    },
  })
  const w = await worker('w')
  const membership = await w.join()
  await w.transact([record(topic, 0, 'a')], offsetTo(1), membership)
  const unheard: Promise<void> = w.transact([record(topic, 0, 'never')], offsetTo(2), membership)
  await Promise.race([hanging, unheard])
  const producer = await broker.data.producer()
  await producer.send([record(topic, 0, 'b')])
  // Offsets: 0 a, 1 marker, 2 never (open), 3 b.
  expect(await fetch(0)).toEqual({ values: ['a'], next: 2, stableEnd: 2 })
  expect(await broker.data.bounds([{ topic, partition: 0 }])).toEqual([{ topic, partition: 0, start: 0, end: 2 }])
  broker.crash('w')
  expect(await fetch(2)).toEqual({ values: [], next: 2, stableEnd: 2 })

  const successor = await worker('w')
  expect(await successor.committed([{ topic, partition: 0 }])).toEqual(offsetTo(1))
  expect(await fetch(2)).toEqual({ values: ['b'], next: 5, stableEnd: 5 })
})

test('an open transaction of a dead worker is aborted when it times out; committed offsets wait for that', async () => {
  const { clock, broker, worker, fetch } = await setUp({
    onTransact: async (stage, name) => {
      if (stage === 'begin' && name === 'w') {
        broker.crash('w')
        throw new PipelineError('kafka_unreachable', 'the process died')
      }
    },
  })
  const w = await worker('w')
  const other = await worker('other')
  const membership = await w.join()
  await expect(w.transact([record(topic, 0, 'never')], offsetTo(1), membership)).rejects.toMatchObject({
    code: 'kafka_unreachable',
  })
  const beganMs = clock.elapsedMs()
  expect(await fetch(0)).toEqual({ values: [], next: 0, stableEnd: 0 })
  expect(await other.committed([{ topic, partition: 0 }])).toEqual([
    { topic, partition: 0, offset: null, metadata: '' },
  ])
  expect(clock.elapsedMs() - beganMs).toBe(10_000)
  expect(await fetch(0)).toEqual({ values: [], next: 2, stableEnd: 2 })
  await expect(w.transact([], offsetTo(1), membership)).rejects.toMatchObject({ code: 'kafka_unreachable' })
})

test('what is thrown at begin aborts, what is thrown at committed comes too late', async () => {
  let failAt: 'begin' | 'committed' | null = 'begin'
  const { worker, fetch } = await setUp({
    onTransact: async (stage) => {
      if (stage === failAt) throw new PipelineError('transaction_aborted', `thrown at ${stage}`)
    },
  })
  const w = await worker('w')
  const membership = await w.join()
  await expect(w.transact([record(topic, 0, 'a')], offsetTo(1), membership)).rejects.toThrow('thrown at begin')
  expect(await fetch(0)).toEqual({ values: [], next: 2, stableEnd: 2 })
  expect(await w.committed([{ topic, partition: 0 }])).toMatchObject([{ offset: null }])
  failAt = 'committed'
  await expect(w.transact([record(topic, 0, 'b')], offsetTo(2), membership)).rejects.toThrow('thrown at committed')
  expect(await fetch(2)).toEqual({ values: ['b'], next: 4, stableEnd: 4 })
  expect(await w.committed([{ topic, partition: 0 }])).toEqual(offsetTo(2))
})

test('a live worker whose transaction took too long is fenced', async () => {
  const { clock, worker, fetch } = await setUp({ onTransact: async () => clock.sleep(10_001) })
  const w = await worker('w')
  const membership = await w.join()
  await expect(w.transact([record(topic, 0, 'slow')], offsetTo(1), membership)).rejects.toMatchObject({
    code: 'fenced',
  })
  expect(await fetch(0)).toEqual({ values: [], next: 2, stableEnd: 2 })
  await expect(w.transact([record(topic, 0, 'again')], [], membership)).rejects.toMatchObject({ code: 'fenced' })
})

test('a member that does not join again is left behind after the rebalance timeout', async () => {
  const { clock, worker } = await setUp()
  const w = await worker('w')
  const before = await w.join()
  const x = await worker('x')
  const after = await x.join()
  expect(clock.elapsedMs()).toBe(10_000)
  expect(after).toMatchObject({ generation: before.generation + 1, tasks: [{ stage: 'only', partition: 0 }] })
  await expect(w.transact([record(topic, 0, 'late')], offsetTo(1), before)).rejects.toMatchObject({ code: 'rebalance' })
  const [back] = await Promise.all([w.join(), x.join()])
  expect(back.generation).toBe(before.generation + 2)
})

test('what was handed over is copied, as it is on its way to Kafka', async () => {
  const { broker, fetch } = await setUp()
  const producer = await broker.data.producer()
  const value = Buffer.from('as it was')
  await producer.send([{ topic, partition: 0, key: null, value, headers: { origin: value } }])
  value.fill(0)
  expect((await fetch(0)).values).toEqual(['as it was'])
  const [part] = await (await broker.data.fetcher()).fetch([{ topic, partition: 0, offset: 0 }], patient)
  expect(String(part!.records.at(0).headers.origin)).toBe('as it was')
})
