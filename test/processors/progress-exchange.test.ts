/** The progress exchange of one process: who reports what in which transaction, and how readers slow down the tasks that are ahead. */
import { describe, expect, test } from 'vitest'
import { type Frontier, initialFrontier } from '../../processors/watermarks/frontier.ts'
import { createProgressConsumer } from '../../processors/watermarks/progress-consumer.ts'
import { createProgressExchange, type ProgressExchange } from '../../processors/watermarks/progress-exchange.ts'
import type { ReadingTask, WritingTask } from '../../processors/watermarks/progress-task.ts'
import { createSourceFrontiers } from '../../processors/watermarks/source-frontiers.ts'
import type { LogRecord, OutRecord } from '../../runtime/broker.ts'
import { recordsOf } from '../../runtime/records.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { SourceProgress, WatermarkRecord } from '../../schemas/wire/records.ts'
import { clicksPipeline } from '../support/clicks.ts'

/** The stage of `rekey` writes to the topic; the stage of users reads it, and the raw topic of refunds beside it. */
const { stages } = compile(clicksPipeline({ stages: 1, rekey: ['clicks'] }))
const [stage, readingStage] = [stages[0]!, stages[1]!]
const repartition = stage.repartitionOut!
const at = (time: number, order = 0): Frontier => ({ time, order })

function writer(partition: number, rest: Partial<WritingTask> = {}): WritingTask {
  return {
    partition,
    isRestoring: false,
    frontier: at(50),
    retentionWatermark: 40,
    watermark: () => at(50),
    heldBackAt: initialFrontier,
    isAtEnd: () => true,
    endRound: () => 1,
    idleUpTo: () => null,
    readTime: () => Number.POSITIVE_INFINITY,
    topTime: () => Number.POSITIVE_INFINITY,
    progressAtMs: () => Number.NEGATIVE_INFINITY,
    startCatchUp: () => undefined,
    hasCaughtUp: () => false,
    ...rest,
  }
}

function reader(partition: number, rest: Partial<ReadingTask> = {}): ReadingTask {
  const input = { topic: 'refunds', nextOffset: 9, lag: 0, isAtEnd: true, maxEventTime: 0 }
  return {
    stage: readingStage,
    partition,
    inputs: [input, { ...input, topic: repartition.topic }],
    held: 0,
    topRaw: () => null,
    topTime: () => 70,
    progressAtMs: () => Number.NEGATIVE_INFINITY,
    ...rest,
  }
}

function exchangeOf(tasks: readonly WritingTask[], readers: readonly ReadingTask[] = [], readersHeldMax = 100) {
  // Two tasks write to the topic, and each of the two that read it has one raw input.
  const sourceFrontiers = createSourceFrontiers(2, 2)
  const partitions = 2
  const exchange = createProgressExchange({
    stage,
    tasks,
    readers,
    partitions,
    sourceFrontiers,
    readersHeldMax,
    progressConsumer: null,
  })
  return { exchange, sourceFrontiers }
}

function decoded({ value }: Pick<OutRecord, 'value'>): WatermarkRecord {
  const record = repartition.codec.decode(value!)
  if (record.kind !== 'watermark') throw new Error('expected a watermark record')
  return record
}

const context = { isSending: false, answeredRound: 1, nowMs: 0, advancingEveryMs: 1_000 }

/** What the exchange sends in this batch; null where nothing is due. */
function sent(exchange: ProgressExchange, batch = context): WatermarkRecord | null {
  const update = exchange.dueUpdate(batch)
  return update && decoded(exchange.report(update, batch)[0]!)
}

const sourcesOf = (record: WatermarkRecord | null) => record?.sources.map(({ source }) => source)

describe('tasks that write to the topic', () => {
  test('report once they are idle, in every partition, with the frontiers that they cover', () => {
    const { exchange } = exchangeOf([writer(0), writer(1, { watermark: () => at(60, 3) })])
    const update = exchange.dueUpdate(context)!
    const records = exchange.report(update, context)
    expect(records.map(({ topic, partition }) => [topic, partition])).toEqual([
      [repartition.topic, 0],
      [repartition.topic, 1],
    ])
    const record = decoded(records[0]!)
    expect(record.sources).toMatchObject([
      { source: 0, watermark: 50, idle: true },
      { source: 1, watermark: 60, order: 3, idle: true },
    ] satisfies Array<Partial<SourceProgress>>)
    expect(record.observed.slice(0, 2)).toEqual([at(50), at(60, 3)])
    expect(exchange.dueUpdate(context)).toBeNull()
  })

  test('report what they have caught up with in a record of its own, before the others', () => {
    const rounds: number[] = []
    let hasCaughtUp = false
    const busy = writer(0, {
      isAtEnd: () => false,
      hasCaughtUp: () => hasCaughtUp,
      startCatchUp: (round) => rounds.push(round),
    })
    const { exchange, sourceFrontiers } = exchangeOf([busy])
    sourceFrontiers.observe(1, at(80))
    sourceFrontiers.setCaughtUp()
    exchange.startRound()
    sent(exchange)
    expect(rounds).toEqual([1])
    hasCaughtUp = true
    sourceFrontiers.observe(1, at(90))
    const update = exchange.dueUpdate(context)!
    const records = exchange.report(update, context).map(decoded)
    // In both partitions each; what was observed later is not covered.
    expect(records.map(({ sources, observed }) => [sources[0]!.caughtUp, observed[1]])).toEqual([
      [true, at(80)],
      [true, at(80)],
      [false, undefined],
      [false, undefined],
    ])
  })

  test('say that they advance while another of the process holds them back, and that one does', () => {
    const held = writer(0, { isAtEnd: () => false, topTime: () => 90, readTime: () => 95 })
    const behind = writer(1, { isAtEnd: () => false, readTime: () => 60, progressAtMs: () => 1_500 })
    const { exchange } = exchangeOf([held, behind])
    sent(exchange)
    expect(
      sent(exchange, { ...context, nowMs: 1_999 })?.sources.map(({ source, advancing }) => [source, advancing]),
    ).toEqual([
      [0, true],
      [1, true],
    ])
    expect(sent(exchange, { ...context, nowMs: 9_000 })).toBeNull()
  })

  test('do not report while they restore their state', () => {
    const { exchange } = exchangeOf([writer(0, { isRestoring: true }), writer(1)])
    expect(sourcesOf(sent(exchange))).toEqual([1])
  })

  test('report without frontiers where none of them is idle', () => {
    const { exchange } = exchangeOf([writer(0, { isAtEnd: () => false })])
    const record = sent(exchange, { ...context, isSending: true })
    expect(record).toMatchObject({ observed: [], sources: [{ source: 0, idle: false }] })
  })

  test('fetch once more and report again when they have observed a later frontier of another process', () => {
    const task = writer(0)
    const { exchange, sourceFrontiers } = exchangeOf([task])
    expect(sourcesOf(sent(exchange))).toEqual([0])
    sourceFrontiers.observe(1, at(80))
    sourceFrontiers.setCaughtUp()
    // The fetch that found the end began before the frontier was observed.
    expect(sent(exchange)).toBeNull()
    expect(exchange.isReportPending()).toBe(true)
    exchange.startRound()
    const record = sent(exchange)
    expect(record?.observed[1]).toEqual(at(80))
    expect(exchange.isReportPending()).toBe(false)
  })
})

describe('a request for progress', () => {
  test('is sent once, with the first report, where other processes have tasks of the stage', () => {
    const { exchange } = exchangeOf([writer(0)])
    expect(sent(exchange)?.requestsProgress).toBe(true)
    expect(sent(exchange, { ...context, isSending: true })?.requestsProgress).toBe(false)
  })

  test('is sent by a process that only reads the topic', () => {
    const { exchange } = exchangeOf([], [reader(0)])
    expect(sent(exchange)).toMatchObject({ sources: [], requestsProgress: true })
    expect(sent(exchange)).toBeNull()
  })

  test('is not sent by a process that has all tasks of the stage', () => {
    const { exchange } = exchangeOf([writer(0), writer(1)])
    expect(sent(exchange)?.requestsProgress).toBe(false)
  })

  test('is answered by all tasks, idle or not, after the next fetch', () => {
    const busy = writer(0, { isAtEnd: () => false })
    const { exchange, sourceFrontiers } = exchangeOf([busy])
    sent(exchange)
    expect(sent(exchange)).toBeNull()
    sourceFrontiers.observeRequest()
    sourceFrontiers.setCaughtUp()
    expect(sent(exchange)).toBeNull()
    exchange.startRound()
    expect(sourcesOf(sent(exchange))).toEqual([0])
    expect(sent(exchange)).toBeNull()
  })
})

describe('tasks that read the topic', () => {
  const waiting = () => reader(1, { topRaw: () => ({ input: 0, offset: 5 }) })

  test('report the next offset of a raw topic while its first event waits, once', () => {
    const { exchange, sourceFrontiers } = exchangeOf([], [waiting()])
    const record = sent(exchange)
    // Behind the two writing tasks: reader 0, then reader 1.
    expect(record?.sources).toMatchObject([{ source: 3, watermark: 9, order: 0, idle: false }])
    expect(sourceFrontiers.latest[3]).toEqual(at(9))
    expect(sent(exchange)).toBeNull()
  })

  test('report again once the first event is at the offset that was reported', () => {
    let offset = 8
    const task = reader(0, { topRaw: () => ({ input: 0, offset }) })
    const { exchange } = exchangeOf([], [task])
    expect(sourcesOf(sent(exchange))).toEqual([2])
    expect(sent(exchange)).toBeNull()
    offset = 9
    expect(sourcesOf(sent(exchange))).toEqual([2])
  })

  test('report it to tasks of the same process without a record', () => {
    const { exchange, sourceFrontiers } = exchangeOf([writer(0), writer(1)], [waiting()])
    expect(sourcesOf(sent(exchange))).toEqual([0, 1])
    expect(sourceFrontiers.latest[3]).toEqual(at(9))
  })

  test('limit tasks that are ahead while they hold too many events, and never the one that they wait for', () => {
    const full = [reader(0, { held: 101 }), reader(1, { held: 101, topTime: () => 65 })]
    const { exchange } = exchangeOf([], full)
    expect(exchange.maxReleaseTime({ frontier: at(66) })).toBe(65)
    expect(exchange.maxReleaseTime({ frontier: at(65) })).toBe(Number.POSITIVE_INFINITY)
    expect(exchangeOf([], full, 101).exchange.maxReleaseTime({ frontier: at(66) })).toBeNull()
  })

  test('that hold too many events and come nearer say so for the tasks that they slow down', () => {
    const advancing = (task: Partial<WritingTask>, held: number) => {
      const full = reader(0, { held, progressAtMs: () => 1_900 })
      const { exchange } = exchangeOf([writer(0, { isAtEnd: () => false, frontier: at(80), ...task })], [full])
      sent(exchange)
      return sent(exchange, { ...context, nowMs: 2_000 })?.sources[0]?.advancing ?? false
    }
    expect(advancing({ topTime: () => 85 }, 101)).toBe(true)
    // Nothing is held back: it holds nothing, or readers have room, or it is the one that they wait for.
    expect(advancing({}, 101)).toBe(false)
    expect(advancing({ topTime: () => 85 }, 100)).toBe(false)
    expect(advancing({ topTime: () => 85, frontier: at(60) }, 101)).toBe(false)
  })
})

describe('a progress consumer', () => {
  const record = (value: Buffer | null, offset: number): LogRecord => {
    return { offset, appendedAtMs: 0, key: null, value, headers: {} }
  }
  const fetched = (records: readonly LogRecord[], next: number, stableEnd: number) => {
    return {
      topic: repartition.topic,
      partition: 0,
      from: 4,
      records: recordsOf(records),
      next,
      stableEnd,
      end: stableEnd,
      age: 0,
    }
  }

  test('observes watermark records from the offset that it is given, and continues behind them', () => {
    const other = exchangeOf([writer(1)])
    const update = other.exchange.dueUpdate(context)!
    const [{ value }] = other.exchange.report(update, context) as [OutRecord]
    const frontiers = createSourceFrontiers(2, 2)
    const consumer = createProgressConsumer(
      repartition,
      { topic: repartition.topic, partition: 0, offset: 4 },
      frontiers,
    )
    expect(consumer.wanted()).toEqual({ topic: repartition.topic, partition: 0, offset: 4 })
    consumer.accept(fetched([record(value, 4)], 6, 8))
    expect(consumer.wanted().offset).toBe(6)
    expect(frontiers.latest.slice(0, 2)).toEqual([initialFrontier, at(50)])
    // Two records are still to be read, so nothing counts yet.
    expect(frontiers.beforeNextFetch).toEqual({ frontiers: new Array(4).fill(initialFrontier), requests: 0 })
    consumer.accept(fetched([], 8, 8))
    expect(frontiers.beforeNextFetch.frontiers[1]).toEqual(at(50))
    expect(frontiers.beforeNextFetch.requests).toBe(1)
  })

  test('fails on a tombstone, which no process writes to a repartition topic', () => {
    const consumer = createProgressConsumer(
      repartition,
      { topic: repartition.topic, partition: 0, offset: 4 },
      createSourceFrontiers(2, 2),
    )
    expect(() => consumer.accept(fetched([record(null, 4)], 5, 5))).toThrow('no tombstones')
  })
})
