/**
 * Runs a pipeline over raw records as fast as possible: the real worker, batch loop and stores, on a broker that is no more than arrays and
 * a clock that advances only while something sleeps. All that may differ between two runs of the same topics is drawn from a seed: how much
 * a fetch brings, when records are appended, how large batches are, which commits fail and what the cache forgets.
 */
import assert from 'node:assert/strict'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import type { Task } from '../../processors/batch/task.ts'
import type { ProcessingMetrics } from '../../processors/metrics.ts'
import { requeue } from '../../processors/recovery/requeue.ts'
import { runWorker } from '../../processors/run-worker.ts'
import { defaultWorkerLimits } from '../../processors/worker-limits.ts'
import type {
  Broker,
  CommittedOffset,
  FetchedPartition,
  FetchFrom,
  LogRecord,
  Membership,
  OffsetToCommit,
  OutRecord,
  Worker,
} from '../../runtime/broker.ts'
import { isFramed, type Outgoing, unframed } from '../../runtime/framed-records.ts'
import type { Log } from '../../runtime/log.ts'
import { recordsOf } from '../../runtime/records.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Random } from '../../testing/random.ts'
import { eventsFromMs, type RandomPipeline, type Sent } from './random-pipelines.ts'

export interface InstantRun {
  readonly records: (topic: string) => readonly LogRecord[][]
  readonly partitionsOf: (topic: string) => number
  /** Events that came after their position in order had been passed, or were released early. */
  readonly late: number
  readonly failures: number
}

interface Partition {
  readonly records: LogRecord[]
  /** Offset after the last record and the markers behind it. */
  end: number
}

/** `requeues`: dead letters of the fold are repaired, or not, and requeued once all else is done. */
export async function instantRun(
  { plan, partitions, rawPartitions }: RandomPipeline,
  sent: readonly Sent[],
  random: Random,
  options: { readonly requeues: boolean },
): Promise<InstantRun> {
  const chance = (percent: number) => random.below(100) < percent
  let nowMs = eventsFromMs + 10 * 86_400_000
  const clock = {
    nowMs: () => nowMs,
    elapsedMs: () => nowMs,
    sleep: async (ms: number) => {
      step()
      // So that a short wait, over and over, comes to an end.
      nowMs += Math.max(250, Math.ceil(ms))
    },
    turn: async () => undefined,
  }
  const logs = new Map<string, Partition[]>()
  const rekeyed = new Set(plan.streams.filter(({ rekey }) => rekey).map(({ topic }) => topic))
  const partitionsOf = (topic: string) =>
    isFirstOfRekey(plan, topic) || rekeyed.has(topic) ? rawPartitions : partitions
  for (const { topic } of plan.topics) {
    logs.set(
      topic,
      Array.from({ length: partitionsOf(topic) }, () => ({ records: [], end: 0 })),
    )
  }
  const toSend: Array<Sent & Pick<OutRecord, 'headers'>> = [...sent]
  const committed = new Map<string, CommittedOffset>()
  const stopping = new AbortController()
  const recordsMax = 3 + random.below(chance(50) ? 200 : 20)
  const isBacklog = chance(50)
  const producedMax = 2 + random.below(40)
  const crashPercent = chance(40) ? random.below(12) : 0
  let failures = 0
  let rebalances = 0
  let quietFetches = 0
  let steps = 0
  let hasRequeued = !options.requeues

  /** Nothing here lets anybody else run: a pipeline that gets nowhere must not continue forever. */
  function step(): void {
    if (++steps <= stepsMax) return
    const state = running.state().tasks.map(({ stage, partition, held, inputs, frontier, isRestoring }) => {
      const read = inputs.map(({ topic, nextOffset, lag, isAtEnd, maxEventTime }) => ({
        topic,
        nextOffset,
        lag,
        isAtEnd,
        maxEventTime,
      }))
      return { stage: stage.entity.name, partition, held, frontier, isRestoring, read }
    })
    throw new Error(`the run does not end (${failures} failures): ${JSON.stringify(state)}`)
  }

  function append({ topic, partition, key, value, headers = {} }: OutRecord): void {
    const log = logs.get(topic)![partition]!
    // What is sent is written over by what is sent later.
    const kept = (bytes: Buffer | null) => bytes && Buffer.from(bytes)
    log.records.push({ offset: log.end++, appendedAtMs: nowMs, key: kept(key), value: kept(value), headers })
  }

  function produce(count: number): void {
    for (const record of toSend.splice(0, count)) append(record)
  }

  function fetch(from: readonly FetchFrom[], maxWaitMs: number): FetchedPartition[] {
    step()
    if (!isBacklog) produce(random.below(producedMax))
    const fetched = from.map(({ topic, partition, offset }): FetchedPartition => {
      const { records, end } = logs.get(topic)![partition]!
      const first = records.findIndex((record) => record.offset >= offset)
      const found = first === -1 ? [] : records.slice(first, first + (chance(10) ? 0 : 1 + random.below(recordsMax)))
      const isAll = first === -1 || first + found.length === records.length
      const next = isAll ? end : found.length > 0 ? found.at(-1)!.offset + 1 : offset
      return { topic, partition, from: offset, records: recordsOf(found), next, stableEnd: end, end, age: 0 }
    })
    const isQuiet = toSend.length === 0 && fetched.every((part) => part.next === part.from)
    if (!isQuiet || !isAllDone()) quietFetches = 0
    else quietFetches++
    if (isQuiet) nowMs += Math.max(5_000, maxWaitMs)
    if (quietFetches > quietMax) {
      if (hasRequeued) stopping.abort()
      else requeueDeadLetters()
      quietFetches = 0
    }
    return fetched
  }

  function isAllDone(): boolean {
    return running.state().tasks.every(({ held, partition, inputs }) => {
      return held === 0 && inputs.every(({ topic, nextOffset }) => nextOffset >= logs.get(topic)![partition]!.end)
    })
  }

  function requeueDeadLetters(): void {
    hasRequeued = true
    const deadLetters = logs.get(plan.rejected.topic)!.flatMap(({ records }) => records)
    for (const { value } of deadLetters) {
      const deadLetter = plan.rejected.codec.decode(value!)
      const stream = plan.streams.find(({ topic }) => topic === deadLetter.topic)!
      const decoded = stream.codec.decode(deadLetter.value)
      if (!decoded.ok || chance(20)) continue
      const repaired = stream === plan.scored && chance(70) ? { ...decoded.event, money: 14 } : decoded.event
      const back = requeue(deadLetter, stream.codec.encode(repaired), { plan, partitionsOf, nowMs })
      if (back.ok) toSend.push({ id: back.id, ...back.record, key: back.record.key!, value: back.record.value! })
    }
    if (isBacklog) produce(toSend.length)
  }

  async function transact(outgoing: readonly Outgoing[], offsets: readonly OffsetToCommit[]): Promise<void> {
    if (isCrash()) fail('transaction_aborted')
    const records = outgoing.flatMap((one) => (isFramed(one) ? unframed(one) : one))
    for (const record of records) append(record)
    // A marker takes an offset in every partition that was written to.
    for (const name of new Set(records.map(({ topic, partition }) => `${topic} ${partition}`))) {
      const [topic, partition] = name.split(' ')
      logs.get(topic!)![Number(partition)]!.end++
    }
    for (const offset of offsets) committed.set(`${offset.topic} ${offset.partition}`, offset)
    if (isCrash()) fail('kafka_unreachable')
  }

  function isCrash(): boolean {
    return failures < failuresMax && chance(crashPercent)
  }

  /** What is held is read again after each, so that an endless series might prevent the run from ending. */
  function isCurrent(): boolean {
    const isOver = rebalances < rebalancesMax && chance(1)
    if (isOver) rebalances++
    return !isOver
  }

  function fail(code: 'transaction_aborted' | 'kafka_unreachable'): never {
    failures++
    throw new PipelineError(code, 'drawn from the seed')
  }

  const tasks = plan.stages.flatMap(({ entity, rawStreams, repartitionIn }) => {
    const topic = repartitionIn?.topic ?? plan.streams[rawStreams[0]!]!.topic
    return Array.from({ length: partitionsOf(topic) }, (_, partition) => ({ stage: entity.name, partition }))
  })
  let generation = 0
  const broker = {
    data: {
      partitionCounts: async (topics) => new Map(topics.map((topic) => [topic, partitionsOf(topic)])),
      bounds: async (list) => list.map((at) => ({ ...at, start: 0, end: logs.get(at.topic)![at.partition]!.end })),
      fetcher: async () => ({
        fetch: async (from, { maxWaitMs }) => fetch(from, maxWaitMs),
        close: async () => undefined,
      }),
    },
    groups: {
      worker: async () => {
        const owner = `worker:${++generation}`
        return {
          owner,
          join: async (): Promise<Membership> => ({ generation: ++generation, memberId: owner, tasks }),
          isCurrent,
          committed: async (list) =>
            list.map((at) => committed.get(`${at.topic} ${at.partition}`) ?? { ...at, offset: null, metadata: '' }),
          transact,
          publish: () => assert.fail('exactly once'),
          commitOffsets: () => assert.fail('exactly once'),
          leave: async () => undefined,
          close: async () => undefined,
        } satisfies Worker
      },
    },
    admin: { clusterId: async () => 'arrays' },
  } satisfies { [Part in keyof Broker]?: Partial<Broker[Part]> }

  const counts = new Map<Task, Task['counts']>()
  const metrics: ProcessingMetrics = {
    totals: {
      batches: 0,
      events: 0,
      predictions: 0,
      rejected: 0,
      duplicates: 0,
      late: 0,
      releasedEarly: 0,
      overtaken: 0,
      restored: 0,
    },
    latencies: new Map(),
    time: (_, work) => work(),
    took: () => undefined,
    duplicate: () => undefined,
    shadowDropped: () => undefined,
    overtaken: () => undefined,
    committed: (task) => void counts.set(task, task.counts),
  }
  const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  if (isBacklog) produce(toSend.length)
  const running = runWorker({
    plan,
    broker: broker as unknown as Broker,
    store: createMemoryStore(),
    clock,
    log: silent,
    metrics,
    currentModel: () => null,
    group: 'workers',
    name: 'w',
    limits: {
      ...defaultWorkerLimits,
      batchEventsMax: 1 + random.below(chance(50) ? 500 : 20),
      // Longer than any declared disorder: who has nothing to read waits at least as long.
      pollMaxMs: 30_000,
      positionEveryMs: chance(50) ? 0 : 1_000_000,
      holdMaxMs: Number.POSITIVE_INFINITY,
      // Buffers of a few events are another test's: here the order is what matters.
      heldMax: chance(15) ? 1 + random.below(5) : 100_000,
      readAheadMax: 4_000,
      cacheRowsMax: chance(50) ? 5 : 1_000_000,
      outageMaxMs: Number.POSITIVE_INFINITY,
    },
    hashKey: fixedHashKey,
    isRebuild: false,
    signal: stopping.signal,
    random: () => random.next(),
  })
  await running.done

  const late = [...counts.values()].reduce((total, count) => total + count.late + count.releasedEarly, 0)
  return {
    records: (topic) => logs.get(topic)!.map(({ records }) => records),
    partitionsOf,
    late,
    failures,
  }
}

/** All inputs of a stage have the same partition count, and those of the one that rekeys another. */
function isFirstOfRekey(plan: Plan, topic: string): boolean {
  const [first] = plan.stages
  return first!.kind === 'rekey' && first!.rawStreams.some((index) => plan.streams[index]!.topic === topic)
}

const quietMax = 3
const stepsMax = 20_000
const failuresMax = 4
const rebalancesMax = 10
