/** The generated table against the published one, by its SHA-256, and the stream of events against the table. */
import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  generateHandbook,
  type HandbookEvent,
  type HandbookTable,
  handbookEventChunks,
  handbookEvents,
  handbookStartMs,
} from '../../pipelines/handbook.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'

const dayMs = 86_400_000
const daySeconds = 86_400

let table: HandbookTable
let progress: Array<[number, number]>

beforeAll(() => {
  progress = []
  table = generateHandbook({ onProgress: (done, total) => progress.push([done, total]) })
})

function rowText(of: HandbookTable, row: number): string {
  const amount = (of.amountCents[row]! / 100).toFixed(2)
  return `${of.second[row]},${of.customer[row]},${of.terminal[row]},${amount},${of.fraud[row]},${of.scenario[row]}\n`
}

function tableHash(of: HandbookTable, rows = of.rows): string {
  const hash = createHash('sha256')
  for (let begin = 0; begin < rows; begin += 10_000) {
    let text = ''
    for (let row = begin; row < Math.min(begin + 10_000, rows); row++) text += rowText(of, row)
    hash.update(text)
  }
  return hash.digest('hex')
}

function scenarioCounts(of: HandbookTable): number[] {
  const counts = [0, 0, 0, 0]
  for (const scenario of of.scenario) counts[scenario]!++
  return counts
}

function eventTime(event: HandbookEvent): number {
  return event.stream === 'transactions' ? event.values.at : event.values.reportedAt
}

function chargebacksOf(of: HandbookTable) {
  const chargebacks: Array<Extract<HandbookEvent, { stream: 'chargebacks' }>['values']> = []
  for (const event of handbookEvents(of)) if (event.stream === 'chargebacks') chargebacks.push(event.values)
  return chargebacks
}

describe('generateHandbook', () => {
  test('gives all published rows', () => {
    expect(table.rows).toBe(1_754_155)
    for (const column of [table.customer, table.terminal, table.amountCents, table.fraud, table.scenario]) {
      expect(column.length).toBe(table.second.length)
    }
    expect(table.second.length).toBe(1_754_155)
    expect(tableHash(table)).toBe('d6c1b4490b263c9af0b0c452fd14ddaa9502177b1f0f67bdfe2afe2112394d22')
  })

  test('gives the published rows of the first 30 days', () => {
    const rows = table.second.findIndex((second) => second >= 30 * daySeconds)
    expect(rows).toBe(288_062)
    expect(tableHash(table, rows)).toBe('c89c4db7dfb84ac3248c9f74efb3fc1d5993887ade06bc98a3a7a723b8fbfa56')
  })

  test('has the published frauds and scenarios', () => {
    expect(table.fraud.reduce((total, fraud) => total + fraud, 0)).toBe(14_681)
    expect(scenarioCounts(table)).toEqual([1_739_474, 973, 9_077, 4_631])
  })

  test('begins with the published rows', () => {
    expect([0, 1, 2].map((row) => rowText(table, row))).toEqual([
      '31,596,3156,57.16,0,0\n',
      '130,4961,3412,81.51,0,0\n',
      '476,2,1365,146.00,0,0\n',
    ])
  })

  test('reports progress a hundred times', () => {
    expect(progress).toEqual(Array.from({ length: 100 }, (_, step) => [(step + 1) * 50, 5_000]))
  })

  test.each([-1, 0.5, 524_288, Number.NaN])('rejects the seed %d', (seed) => {
    const message = `handbook: the seed must be an integer from 0 to 524287, but is ${seed}`
    expect(() => generateHandbook({ seed })).toThrow(expect.objectContaining({ code: 'usage', message }))
  })
})

describe('another seed', () => {
  let other: HandbookTable
  beforeAll(() => {
    other = generateHandbook({ seed: 1 })
  })

  test('gives another instance of the same process, always the same one', () => {
    expect(other.rows).toBe(1_757_232)
    expect(scenarioCounts(other)).toEqual([1_742_431, 1_055, 8_986, 4_760])
    expect(tableHash(other)).toBe('cdb4e1dc8a48f8998e5a526058e2930fa8d8585e7af26eb6e007e6636bf0bb47')
  })

  test('delays its chargebacks by other draws', () => {
    const delays = new Map(chargebacksOf(other).map(({ txId, txAt, reportedAt }) => [Number(txId), reportedAt - txAt]))
    const firstFrauds = [...delays.keys()].sort((a, b) => a - b).slice(0, 3)
    // 1 day + ⌊double · 6 days⌋ for the first doubles of NumPy's RandomState(5000 + 8192).
    expect(firstFrauds.map((row) => delays.get(row))).toEqual([517_063_613, 463_520_928, 319_628_060])
  })
})

describe('handbookEvents', () => {
  /** Of one customer and second as the row before each, which the published features count second. */
  const publishedFirst = [793_842, 866_818, 1_114_753, 1_120_861]
  let chargebacks: ReturnType<typeof chargebacksOf>
  beforeAll(() => {
    chargebacks = chargebacksOf(table)
  })

  test('gives every transaction and a chargeback for every fraud once, in event time', () => {
    const transactionSeen = new Uint8Array(table.rows)
    const chargebackSeen = new Uint8Array(table.rows)
    const wrong: unknown[] = []
    let ties = 0
    let before = { time: 0, kind: 0, row: 0 }
    for (const event of handbookEvents(table)) {
      const row = Number(event.values.txId)
      const isTransaction = event.stream === 'transactions'
      const rowOrder = isTransaction && publishedFirst.includes(row) ? row - 1.5 : row
      const after = { time: eventTime(event), kind: isTransaction ? 0 : 1, row: rowOrder }
      const order = after.time - before.time || after.kind - before.kind || after.row - before.row
      if (order <= 0) wrong.push(before, event)
      if (after.time === before.time && after.kind > before.kind) ties++
      before = after

      const seen = event.stream === 'transactions' ? transactionSeen : chargebackSeen
      seen[row]!++
      const at = event.stream === 'transactions' ? event.values.at : event.values.txAt
      if (at !== handbookStartMs + table.second[row]! * 1_000) wrong.push(event)
      if (event.values.customerId !== String(table.customer[row])) wrong.push(event)
      if (event.values.terminalId !== String(table.terminal[row])) wrong.push(event)
      if (event.stream === 'transactions') {
        if (event.values.amount.toFixed(2) !== (table.amountCents[row]! / 100).toFixed(2)) wrong.push(event)
      } else {
        const delayMs = event.values.reportedAt - event.values.txAt
        if (!Number.isInteger(delayMs) || delayMs < dayMs || delayMs >= 7 * dayMs) wrong.push(event)
      }
    }
    expect(wrong).toEqual([])
    expect(transactionSeen.every((count) => count === 1)).toBe(true)
    expect(Buffer.compare(chargebackSeen, table.fraud)).toBe(0)
    // Two chargebacks fall on a transaction's very millisecond: the rule for ties is put to the test above.
    expect(ties).toBe(2)
  })

  test('spells events as the example pipeline declares them', () => {
    expect(handbookStartMs).toBe(Date.parse('2018-04-01T00:00:00Z'))
    const first = handbookEvents(table).next().value ?? undefined
    const values: EventValues | undefined = first?.values
    expect(first?.stream).toBe('transactions')
    expect(values).toEqual({
      txId: '0',
      customerId: '596',
      terminalId: '3156',
      amount: 57.16,
      at: handbookStartMs + 31_000,
    })
    expect(chargebacks[0]).toEqual({
      txId: '11556',
      customerId: '1863',
      terminalId: '4841',
      txAt: 1_522_655_205_000,
      reportedAt: 1_522_774_650_325,
    })
  })

  test('draws the delays in row order and spreads them over 1 to 7 days', () => {
    const inRowOrder = [...chargebacks].sort((a, b) => Number(a.txId) - Number(b.txId))
    const delaysMs = inRowOrder.map(({ txAt, reportedAt }) => reportedAt - txAt)
    // 1 day + ⌊double · 6 days⌋ for the first doubles of NumPy's RandomState(5000).
    expect(delaysMs.slice(0, 3)).toEqual([205_138_413, 273_371_202, 463_615_314])
    expect(Math.min(...delaysMs) / dayMs).toBeCloseTo(1, 2)
    expect(Math.max(...delaysMs) / dayMs).toBeCloseTo(7, 2)
    const meanDays = delaysMs.reduce((total, delayMs) => total + delayMs, 0) / delaysMs.length / dayMs
    expect(meanDays).toBeCloseTo(4, 1)
  })

  test('cuts both streams by event time, from inclusive and until exclusive', () => {
    const all = [...handbookEvents(table, { untilSecond: 12 * daySeconds })]
    const between = (fromSecond: number, untilSecond: number) =>
      all.filter((event) => {
        const afterStartMs = eventTime(event) - handbookStartMs
        return afterStartMs >= Math.round(fromSecond * 1_000) && afterStartMs < Math.round(untilSecond * 1_000)
      })
    const spans: Array<[number, number]> = [
      [0, 31],
      [0, 32],
      [31, 130],
      [10 * daySeconds, 11 * daySeconds],
      // From the very ms of one chargeback until that of another.
      [233_850.325, 234_871.989],
      [5, 5],
    ]
    for (const [fromSecond, untilSecond] of spans) {
      expect([...handbookEvents(table, { fromSecond, untilSecond })]).toEqual(between(fromSecond, untilSecond))
    }
    expect(spans.slice(0, 3).map(([from, until]) => between(from, until).length)).toEqual([0, 1, 1])
    const exact = between(233_850.325, 234_871.989).flatMap(({ stream, values }) =>
      stream === 'chargebacks' ? [values.txId] : [],
    )
    expect(exact).toEqual(['11556'])
    // Frauds of the days before the span are reported within it.
    const early = between(10 * daySeconds, 11 * daySeconds).filter(
      (event) => event.stream === 'chargebacks' && event.values.txAt < handbookStartMs + 10 * dayMs,
    )
    expect(early.length).toBeGreaterThan(10)
  })

  test('continues with chargebacks alone after the last transaction', () => {
    const rest = [...handbookEvents(table, { fromSecond: 183 * daySeconds })]
    expect(new Set(rest.map((event) => event.stream))).toEqual(new Set(['chargebacks']))
    expect(rest.at(-1)?.values).toMatchObject({ txId: '1753673', reportedAt: 1_538_917_852_648 })
    expect([...handbookEvents(table, { fromSecond: 190 * daySeconds })]).toEqual([])
  })
})

describe('handbookEventChunks', () => {
  test('gives the same events in full chunks and one shorter last', () => {
    const span = { fromSecond: 4 * daySeconds, untilSecond: 5 * daySeconds }
    const events = [...handbookEvents(table, span)]
    const chunks = [...handbookEventChunks(table, { ...span, chunkEventsMax: 1_000 })]
    expect(chunks.flat()).toEqual(events)
    const lengths = chunks.map((chunk) => chunk.length)
    expect(lengths.slice(0, -1)).toEqual(Array(Math.floor(events.length / 1_000)).fill(1_000))
    expect(lengths.at(-1)).toBe(events.length % 1_000)
  })

  test('gives no empty chunk', () => {
    expect([...handbookEventChunks(table, { untilSecond: 0, chunkEventsMax: 10 })]).toEqual([])
    const exact = [...handbookEventChunks(table, { untilSecond: 477, chunkEventsMax: 3 })]
    expect(exact.map((chunk) => chunk.length)).toEqual([3])
  })

  test.each([0, 1.5, -1])('rejects chunks of %d', (chunkEventsMax) => {
    expect(() => handbookEventChunks(table, { chunkEventsMax }).next()).toThrow('chunkEventsMax must be positive')
  })
})
