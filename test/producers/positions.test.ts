import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { openPositions, type PositionsOptions, type SourceIdentity } from '../../producers/positions.ts'
import type { SourceEvent } from '../../producers/prepare.ts'
import { produce } from '../../producers/produce.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { createMemoryBroker, type OnTransact } from '../../runtime/memory/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { drawn } from '../support/nightly.ts'

const plan = compile(cardFraud)
const { topic, codec } = plan.scored
const partitions = 3
const atMs = Date.UTC(2018, 3, 1)
const source: SourceIdentity = { name: 'tx.csv', key: 'tx.csv', parts: [{ name: 'tx.csv', file: null }] }

/** Every seventh is none. */
const isNone = (n: number) => n % 7 === 3
const rowsOf = (count: number): SourceEvent[] =>
  Array.from({ length: count }, (_, n) => ({
    stream: 'transactions',
    location: `row ${n}`,
    values: { txId: `t${n}`, customerId: `c${n % 11}`, terminalId: 'm', amount: isNone(n) ? -1 : n, at: atMs + n },
  }))

async function setUp(onTransact?: OnTransact) {
  const clock = createVirtualClock(0)
  const broker = createMemoryBroker({ clock, ...(onTransact ? { onTransact } : {}) })
  await ensureTopics(broker.admin, plan, partitions)
  const lines: string[] = []
  const open = (more: Partial<PositionsOptions> = {}) =>
    openPositions({
      broker,
      groupPrefix: 'card-fraud',
      topic,
      source,
      isResuming: true,
      clock,
      random: () => 1,
      signal: new AbortController().signal,
      printLine: (line) => lines.push(line),
      ...more,
    })
  return { clock, broker, lines, open }
}

type SetUp = Awaited<ReturnType<typeof setUp>>

async function run({ clock, open }: SetUp, rows: SourceEvent[], { sizes = [10], isResuming = true } = {}) {
  const sink = await open({ isResuming })
  function* chunks() {
    for (let from = 0, i = 0; from < rows.length; i++) {
      const to = from + sizes[i % sizes.length]!
      yield rows.slice(from, to)
      from = to
    }
  }
  try {
    return await produce(chunks(), {
      streams: plan.streams,
      sink,
      rowsDone: isResuming ? (sink.found ?? [0]) : [0],
      partitionsOf: () => partitions,
      pace: { kind: 'flat out' },
      clock,
      signal: new AbortController().signal,
      chunkEventsMax: 8,
    })
  } finally {
    await sink.close()
  }
}

/** Ids by partition, as a reader of committed records sees them. */
async function idsIn(broker: BrokerData): Promise<string[][]> {
  const fetcher = await broker.fetcher()
  const from = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: 0 }))
  const fetched = await fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax: 1e9 })
  await fetcher.close()
  return fetched
    .sort((a, b) => a.partition - b.partition)
    .map(({ records }) =>
      [...records].map(({ value }) => {
        const decoded = codec.decode(value)
        return decoded.ok ? (decoded.event.txId as string) : 'undecodable'
      }),
    )
}

function idsExpected(count: number): string[][] {
  const ids: string[][] = Array.from({ length: partitions }, () => [])
  for (let n = 0; n < count; n++) if (!isNone(n)) ids[partitionOf(Buffer.from(`c${n % 11}`), partitions)]!.push(`t${n}`)
  return ids
}

describe('a run', () => {
  test('continues where the one before stopped, with what was rejected counted as done', async () => {
    const made = await setUp()
    const rows = rowsOf(100)
    expect(await run(made, rows.slice(0, 60))).toMatchObject({ events: 51, rejected: 9, skipped: 0 })
    expect(await run(made, rows)).toMatchObject({ events: 35, rejected: 5, skipped: 60 })
    expect(await run(made, rows)).toMatchObject({ events: 0, rejected: 0, skipped: 100 })
    expect(await idsIn(made.broker.data)).toEqual(idsExpected(100))
    expect(made.lines).toEqual([])
  })

  test('without resume begins at the first row and sets the position back', async () => {
    const made = await setUp()
    await run(made, rowsOf(20))
    const sink = await made.open({ isResuming: false })
    expect(sink.found).toEqual([20])
    await sink.close()
    expect(await run(made, rowsOf(20))).toMatchObject({ events: 17, skipped: 0 })
  })

  test('of a source that has become shorter reports it', async () => {
    const made = await setUp()
    await run(made, rowsOf(20))
    await expect(run(made, rowsOf(12))).rejects.toMatchObject({ code: 'source_changed' })
  })

  test('of another source has another position', async () => {
    const made = await setUp()
    await run(made, rowsOf(20))
    const other = await made.open({ source: { ...source, key: 'other.csv' } })
    expect(other.found).toBeNull()
    await other.close()
  })

  test('is ended by a newer one of the same source, which continues', async () => {
    const made = await setUp()
    const rows = rowsOf(40)
    const first = await made.open()
    const record = { topic, partition: 0, key: null, value: Buffer.from('1') }
    await first.send([record], [1])
    const second = await made.open()
    expect(second.found).toEqual([1])
    const rejection = { code: 'source_taken', message: expect.stringContaining('Another process is sending tx.csv') }
    await expect(first.send([record], [2])).rejects.toMatchObject(rejection)
    await second.send([], [2])
    expect(made.lines).toEqual([])
    await Promise.all([first.close(), second.close()])
    expect(await run(made, rows)).toMatchObject({ skipped: 2 })
  })

  test('gives up when nothing but failures came for two minutes, and at once where it is aborted', async () => {
    let isDown = false
    const made = await setUp(async () => {
      if (isDown) throw new PipelineError('kafka_unreachable', 'No broker answered')
    })
    const stop = new AbortController()
    const sink = await made.open({ signal: stop.signal })
    isDown = true
    const before = made.clock.elapsedMs()
    await expect(sink.send([], [1])).rejects.toMatchObject({ code: 'kafka_unreachable' })
    expect(made.clock.elapsedMs() - before).toBeGreaterThan(120_000)
    expect(made.clock.elapsedMs() - before).toBeLessThan(130_000)
    expect(made.lines[0]).toBe('No broker answered. Trying again.')
    const tries = made.lines.length
    stop.abort()
    await expect(sink.send([], [1])).rejects.toMatchObject({ code: 'kafka_unreachable' })
    expect(made.lines.length).toBe(tries)
    await sink.close()
  })
})

/** What happens at a step of a transaction: nothing, the answer is lost, or the process dies there. */
const outcome = fc.constantFrom('well', 'well', 'well', 'lost', 'dies')

test('every row is sent once and in order, with any failures and crashes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(outcome, { maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 }),
      async (outcomes, sizes) => {
        const left = [...outcomes]
        const crash: { now: () => void } = { now: () => undefined }
        const made = await setUp(async () => {
          const outcome = left.shift() ?? 'well'
          if (outcome === 'lost') throw new PipelineError('kafka_unreachable', 'The answer was lost')
          if (outcome !== 'dies') return
          crash.now()
          throw new Error('dead')
        })
        crash.now = () => made.broker.crash('produce')
        const rows = rowsOf(90)
        let sent = 0
        for (let runs = 0; ; runs++) {
          expect(runs).toBeLessThanOrEqual(outcomes.length)
          try {
            sent += (await run(made, rows, { sizes })).events
            break
          } catch (error) {
            expect((error as Error).message).toBe('dead')
          }
        }
        expect(sent).toBeLessThanOrEqual(77)
        expect(await idsIn(made.broker.data)).toEqual(idsExpected(90))
      },
    ),
    { seed: 20_261_125, numRuns: drawn({ always: 50, nightly: 150 }) },
  )
})
