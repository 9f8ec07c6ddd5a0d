import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { SourceEvent } from '../../producers/prepare.ts'
import { type ProduceOptions, produce } from '../../producers/produce.ts'
import type { ProduceProgress } from '../../producers/produce-counts.ts'
import type { OutRecord, Producer } from '../../runtime/broker.ts'
import { type Clock, systemClock } from '../../runtime/clock.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'

const plan = compile(cardFraud)
const firstMs = Date.UTC(2018, 3, 1)
const startMs = 1_700_000_000_000

/** A clock that only sleepers and the producer move. */
function manualClock(): Clock & { now: number; readonly sleeps: number[] } {
  const clock = {
    now: 0,
    sleeps: [] as number[],
    nowMs: () => startMs + clock.now,
    elapsedMs: () => clock.now,
    sleep: async (ms: number) => {
      clock.sleeps.push(ms)
      clock.now += ms
    },
    turn: systemClock.turn,
  }
  return clock
}

/** Acknowledges after `takesMs` of the clock; `sent` has one entry a call, with the time of the call. */
function fakeProducer(clock: { now: number }, takesMs = 0) {
  const sent: Array<{ atMs: number; records: readonly OutRecord[] }> = []
  let atOnce = 0
  let most = 0
  const producer: Producer = {
    send: async (records) => {
      sent.push({ atMs: clock.now, records })
      most = Math.max(most, ++atOnce)
      await new Promise((resolve) => setImmediate(resolve))
      clock.now += takesMs
      atOnce--
    },
    close: async () => undefined,
  }
  return { producer, sent, mostAtOnce: () => most }
}

function transaction(n: number, timeMs = firstMs + n * 1_000): SourceEvent {
  const values = { txId: `t${n}`, customerId: `c${n % 7}`, terminalId: `m${n % 3}`, amount: n, at: timeMs }
  return { stream: 'transactions', values }
}

const some = (count: number) => Array.from({ length: count }, (_, n) => transaction(n))

async function run(
  source: Iterable<readonly SourceEvent[]>,
  more: Partial<ProduceOptions> & { takesMs?: number } = {},
) {
  const clock = manualClock()
  const { takesMs = 0, ...options } = more
  const { producer, sent, mostAtOnce } = fakeProducer(clock, takesMs)
  const summary = await produce(source, {
    streams: plan.streams,
    sink: producer,
    partitionsOf: () => 4,
    pace: { kind: 'flat out' },
    clock,
    signal: new AbortController().signal,
    ...options,
  })
  return { summary, sent, mostAtOnce, clock, sizes: sent.map(({ records }) => records.length) }
}

describe('an instant', () => {
  /** `lengths`: how many events each instant has. */
  const instants = (...lengths: readonly number[]) => {
    const timesMs = lengths.flatMap((length, i) => Array.from({ length }, () => firstMs + i * 1_000))
    return timesMs.map((timeMs, n) => transaction(n, timeMs))
  }
  const chunked = (events: readonly SourceEvent[], size: number) =>
    Array.from({ length: Math.ceil(events.length / size) }, (_, i) => events.slice(i * size, (i + 1) * size))
  const whole = { chunkEventsMax: 3, mayPause: false } as const

  test('goes in one chunk, however the source is cut', async () => {
    const events = instants(2, 2, 1, 5, 1, 1)
    for (const size of [1, 2, 3, 4, 12]) expect((await run(chunked(events, size), whole)).sizes).toEqual([4, 6, 2])
    // Rows that are none stay with it.
    const wrong: SourceEvent = { stream: 'transactions', values: {} }
    const { sizes, summary } = await run([[...events.slice(0, 3), wrong, wrong, ...events.slice(3)]], whole)
    expect([sizes, summary.rejected]).toEqual([[4, 6, 2], 2])
  })

  test('of what may pause, and of a pace, goes as it comes', async () => {
    expect((await run(chunked(instants(4), 3), { chunkEventsMax: 3 })).sizes).toEqual([3, 1])
    const paced = { ...whole, pace: { kind: 'rate', eventsPerSecond: 1_000 } } as const
    expect((await run([instants(4)], paced)).sizes).toEqual([1, 1, 1, 1])
  })

  test('of too many events is split, which is said once', async () => {
    const split: number[] = []
    const { sizes } = await run([instants(1, 250_000)], {
      ...whole,
      onInstantSplit: (timeMs) => void split.push(timeMs),
    })
    expect(sizes).toEqual([100_000, 100_000, 50_001])
    expect(split).toEqual([firstMs + 1_000])
  })
})

describe('records', () => {
  test('have the key, the partition of the key and Avro that decodes to the event', async () => {
    const chargeback = { txId: 't1', customerId: 'ä', terminalId: 'm', txAt: firstMs, reportedAt: firstMs + 5 }
    const { sent, summary } = await run([[transaction(1), { stream: 'chargebacks', values: chargeback }]])
    const [first, second] = sent[0]!.records
    expect(first).toMatchObject({
      topic: 'transactions',
      partition: partitionOf(Buffer.from('c1'), 4),
      key: Buffer.from('c1'),
    })
    expect(second).toMatchObject({
      topic: 'chargebacks',
      partition: partitionOf(Buffer.from('ä'), 4),
      key: Buffer.from('ä'),
    })
    const stream = plan.streams.find(({ name }) => name === 'chargebacks')!
    expect(second!.value!.subarray(0, 2).toString('hex')).toBe('c301')
    expect(stream.codec.decode(second!.value)).toEqual({ ok: true, event: chargeback })
    expect(summary).toMatchObject({ events: 2, byStream: { transactions: 1, chargebacks: 1 }, rejected: 0 })
    expect([summary.firstTime, summary.lastTime]).toEqual([firstMs + 5, firstMs + 1_000])
  })

  test('are sent in chunks, in the order of the source, each acknowledged before the next', async () => {
    const { sent, sizes, mostAtOnce, summary } = await run([some(25)], { chunkEventsMax: 10 })
    expect(sizes).toEqual([10, 10, 5])
    expect(mostAtOnce()).toBe(1)
    const ids = sent.flatMap(({ records }) => records.map(({ value }) => plan.scored.codec.decode(value)))
    expect(ids.map((decoded) => decoded.ok && decoded.event.txId)).toEqual(some(25).map((_, n) => `t${n}`))
    expect(summary.events).toBe(25)
  })

  test('what a source gave does not wait for what it gives next', async () => {
    const { sizes } = await run([some(3), some(2)])
    expect(sizes).toEqual([3, 2])
  })
})

describe('events that are none', () => {
  test('are reported with their location, counted and not sent', async () => {
    const rejections: unknown[] = []
    const bad: SourceEvent[] = [
      { stream: 'transactions', values: { txId: 'x', customerId: 'c', terminalId: 't', amount: -1, at: firstMs } },
      { stream: 'payments', values: {} },
      { location: 'file, line 9', problems: [{ path: '', code: 'not_json', expected: 'JSON', received: '{' }] },
    ]
    const { summary, sizes } = await run([[transaction(0), ...bad, transaction(1)]], {
      onRejected: (problems, event) =>
        rejections.push([problems.map(({ path, code }) => `${path} ${code}`), event.location]),
    })
    expect(sizes).toEqual([2])
    expect(summary).toMatchObject({ events: 2, rejected: 3 })
    expect(rejections).toEqual([
      [['/amount range'], undefined],
      [['/stream type'], undefined],
      [[' not_json'], 'file, line 9'],
    ])
  })
})

describe('pace', () => {
  test('by rate: what is due is sent together, scheduled times are evenly spaced', async () => {
    const scheduled: number[] = []
    const { sent, sizes, summary } = await run([some(5)], {
      pace: { kind: 'rate', eventsPerSecond: 100 },
      onSent: (_, scheduledMs) => scheduled.push(scheduledMs - startMs),
    })
    expect(scheduled).toEqual([0, 10, 20, 30, 40])
    expect(sizes).toEqual([1, 1, 1, 1, 1])
    expect(sent.map(({ atMs }) => atMs)).toEqual([0, 10, 20, 30, 40])
    expect(summary).toMatchObject({ events: 5, seconds: 0.04, eventsPerSecond: 125 })
  })

  test('a slow broker does not shift the schedule: what became due meanwhile is sent along', async () => {
    const scheduled: number[] = []
    const { sent, sizes } = await run([some(10)], {
      takesMs: 35,
      pace: { kind: 'rate', eventsPerSecond: 100 },
      onSent: (_, scheduledMs) => scheduled.push(scheduledMs - startMs),
    })
    expect(scheduled).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90])
    // Acknowledged at 35, 70 and 105 ms, when the events up to 30, 70 and 90 ms are due.
    expect(sent.map(({ atMs }) => atMs)).toEqual([0, 35, 70, 105])
    expect(sizes).toEqual([1, 3, 4, 2])
  })

  test('by event time: long waits are cut, so that a stop is noticed', async () => {
    const { sent, clock } = await run([[transaction(0, firstMs), transaction(1, firstMs + 3_600_000)]], {
      pace: { kind: 'event time', speed: 3_600 },
    })
    expect(sent.map(({ atMs }) => atMs)).toEqual([0, 1_000])
    expect(clock.sleeps).toEqual([200, 200, 200, 200, 200])
  })

  test('flat out, the scheduled time is the time of sending', async () => {
    const scheduled: number[] = []
    await run([some(4)], { chunkEventsMax: 2, takesMs: 3, onSent: (_, ms) => scheduled.push(ms - startMs) })
    expect(scheduled).toEqual([0, 0, 3, 3])
  })
})

test('progress comes at most once a second, with the rate since the one before', async () => {
  const progress: ProduceProgress[] = []
  await run([some(35)], {
    pace: { kind: 'rate', eventsPerSecond: 10 },
    onProgress: (one) => progress.push(one),
  })
  expect(progress.map(({ events }) => events)).toEqual([10, 20, 30])
  expect(progress[0]).toEqual({ events: 10, eventsPerSecond: 10, timeMs: firstMs + 9_000 })
})

test('flat out there is progress too', async () => {
  const progress: ProduceProgress[] = []
  await run(
    Array.from({ length: 6 }, () => some(10)),
    { takesMs: 400, onProgress: (one) => progress.push(one) },
  )
  expect(progress.map(({ events, eventsPerSecond }) => [events, eventsPerSecond])).toEqual([[30, 25]])
})

test('a stop ends it between two chunks, and what was acknowledged is counted', async () => {
  const stop = new AbortController()
  let given = 0
  function* endless() {
    for (;;) yield [transaction(given++)]
  }
  const { summary, sizes } = await run(endless(), {
    signal: stop.signal,
    onSent: ({ id }) => {
      if (id === 't4') stop.abort()
    },
  })
  expect(summary.events).toBe(5)
  expect(sizes).toEqual([1, 1, 1, 1, 1])
})

test('an error of the producer fails the whole run, and nothing is sent after it', async () => {
  const sent: number[] = []
  const refused = new PipelineError('kafka_unreachable', 'No broker answered.')
  const producer: Producer = {
    send: async (records) => {
      sent.push(records.length)
      throw refused
    },
    close: async () => undefined,
  }
  await expect(run([some(10)], { sink: producer, chunkEventsMax: 4 })).rejects.toBe(refused)
  expect(sent).toEqual([4])
})

test('a failing source is reported after what is in flight was answered', async () => {
  let answered = false
  const producer: Producer = {
    send: async () => {
      await new Promise((resolve) => setImmediate(resolve))
      answered = true
    },
    close: async () => undefined,
  }
  function* failing() {
    yield some(2)
    throw new Error('the disk is gone')
  }
  await expect(run(failing(), { sink: producer })).rejects.toThrow('the disk is gone')
  expect(answered).toBe(true)
})
