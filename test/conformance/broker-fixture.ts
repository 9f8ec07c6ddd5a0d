/**
 * What the broker suite's parts share: brokers, topics and workers made for one test and closed with it, and reading
 * until the end.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import type {
  Broker,
  CommittedOffset,
  Fetcher,
  LogRecord,
  Membership,
  OutRecord,
  StageTopics,
  TopicPartition,
  Worker,
  WorkerOptions,
} from '../../runtime/broker.ts'

/** An open transaction of another producer: its records are in the log, undecided. */
export interface OpenTransaction {
  commit(): Promise<void>
  abort(): Promise<void>
}

export interface TransactionToOpen {
  readonly group: string
  /** Whose: the transactional id is that of the worker of this name in the group. */
  readonly worker: string
  readonly records: readonly OutRecord[]
  /** Without metadata. */
  readonly offsets: ReadonlyArray<TopicPartition & { readonly offset: number }>
}

/** What the suite needs beside the contract: things that others, time and the operator do to a broker. */
export interface BrokerSuiteOptions {
  /** Deletes records before an offset, as retention does. */
  readonly truncate: (partition: TopicPartition, before: number) => Promise<void>
  readonly openTransaction: (broker: Broker, transaction: TransactionToOpen) => Promise<OpenTransaction>
  /** Lets time pass for heartbeats and sessions, ms; real time unless given. */
  readonly pass?: (ms: number) => Promise<void>
  readonly sessionTimeoutMs?: number
}

export interface SoloWorker {
  readonly broker: Broker
  readonly topic: string
  readonly group: string
  readonly stages: readonly StageTopics[]
  readonly worker: Worker
  readonly membership: Membership
}

export interface BrokerFixture {
  open(): Promise<Broker>
  withTopic(partitions?: number): Promise<{ broker: Broker; topic: string }>
  workerOptions(group: string, worker: string, stages: readonly StageTopics[]): WorkerOptions
  /** The only member of a new group, joined, with one stage on one new topic. */
  soloWorker(partitions?: number): Promise<SoloWorker>
  pass(ms: number): Promise<void>
  /** Lets time pass until it holds, at most five sessions. */
  until(what: string, holds: () => boolean): Promise<void>
  untilWithin(ms: number, what: string, holds: () => boolean): Promise<void>
  readonly truncate: BrokerSuiteOptions['truncate']
  readonly openTransaction: BrokerSuiteOptions['openTransaction']
}

export function createBrokerFixture(
  createBroker: () => Broker | Promise<Broker>,
  options: BrokerSuiteOptions,
): BrokerFixture {
  const { pass = (ms: number) => delay(ms), sessionTimeoutMs = 6_000 } = options

  async function open(): Promise<Broker> {
    const broker = await createBroker()
    onTestFinished(() => broker.close())
    return broker
  }

  async function withTopic(partitions = 1): Promise<{ broker: Broker; topic: string }> {
    const broker = await open()
    const topic = unique('topic')
    await broker.admin.ensureTopics([{ topic, partitions, config: {} }])
    return { broker, topic }
  }

  function workerOptions(group: string, worker: string, stages: readonly StageTopics[]): WorkerOptions {
    return { group, worker, stages, sessionTimeoutMs, transactionTimeoutMs: 10_000 }
  }

  async function soloWorker(partitions = 1): Promise<SoloWorker> {
    const { broker, topic } = await withTopic(partitions)
    const group = unique('group')
    const stages = [{ stage: 'only', topics: [topic], partitions }]
    const worker = await broker.groups.worker(workerOptions(group, 'w', stages))
    return { broker, topic, group, stages, worker, membership: await worker.join() }
  }

  async function untilWithin(ms: number, what: string, holds: () => boolean): Promise<void> {
    for (let waitedMs = 0; waitedMs < ms; waitedMs += 100) {
      if (holds()) return
      await pass(100)
    }
    throw new Error(`waited in vain: ${what}`)
  }

  const until = (what: string, holds: () => boolean) => untilWithin(5 * sessionTimeoutMs, what, holds)

  const { truncate, openTransaction } = options
  return { open, withTopic, workerOptions, soloWorker, pass, until, untilWithin, truncate, openTransaction }
}

export const brief = { maxWaitMs: 200, partitionBytesMax: 1_000_000 }

export function unique(name: string): string {
  return `${name}-${randomUUID()}`
}

export function record(topic: string, partition: number, value: string): OutRecord {
  return { topic, partition, key: Buffer.from(`key of ${value.slice(0, 20)}`), value: Buffer.from(value) }
}

export function values(records: Iterable<LogRecord>): string[] {
  return Array.from(records, ({ value }) => String(value))
}

export function offsetsOf(committed: readonly CommittedOffset[]): Array<number | null> {
  return committed.map(({ offset }) => offset)
}

export function partitions(topic: string, count: number): TopicPartition[] {
  return Array.from({ length: count }, (_, partition) => ({ topic, partition }))
}

/**
 * The committed records of a partition, at least `count` of them and all up to the stable end. A commit is confirmed
 * a moment before its records can be read; too few of them come back after ten seconds in vain.
 */
export async function readPartition(fetcher: Fetcher, partition: TopicPartition, count: number): Promise<LogRecord[]> {
  const deadline = performance.now() + 10_000
  const read: LogRecord[] = []
  for (let offset = 0; performance.now() < deadline; ) {
    const [part] = await fetcher.fetch([{ ...partition, offset }], brief)
    read.push(...part!.records)
    offset = part!.next
    if (read.length >= count && offset >= part!.stableEnd) break
  }
  return read
}
