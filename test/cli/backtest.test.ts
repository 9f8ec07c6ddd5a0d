/** `millrace backtest` over a file of six weeks: its table and figures, the same on every run, and what it rejects. */
import { readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { StreamEvent } from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { click, clicksStartMs, refund } from '../support/clicks.ts'
import { call, scratchFolder } from './call.ts'

const definition = 'test/cli/fixtures/clicks-learner.ts'
const daySeconds = 86_400

/** Large amounts are refunded more often, half an hour later. */
function sixWeeks(days = 42, perDay = 60): StreamEvent[] {
  const random = createRandom(41)
  const events: StreamEvent[] = []
  for (let n = 0; n < days * perDay; n++) {
    const seconds = Math.floor(((n + random.next()) * daySeconds) / perDay)
    const amount = 1 + random.below(10)
    const user = `u${random.below(600)}`
    events.push(click(`c${n}`, user, seconds, { amount }))
    if (random.next() < amount / 20) events.push(refund(`c${n}`, user, seconds + 1_800, { clickedAt: seconds }))
  }
  return events.sort((a, b) => Number(a.values.at) - Number(b.values.at))
}

/** The six weeks with more events at the start of that day. */
function sixWeeksAnd(day: number, more: readonly StreamEvent[]): StreamEvent[] {
  const isBefore = ({ values }: StreamEvent) => Number(values.at) < clicksStartMs + day * daySeconds * 1_000
  const events = sixWeeks()
  return [...events.filter(isBefore), ...more, ...events.filter((event) => !isBefore(event))]
}

async function fileOf(events: readonly StreamEvent[]): Promise<string> {
  const path = join(await scratchFolder(), 'events.jsonl')
  await writeFile(path, events.map(({ stream, values }) => JSON.stringify({ stream, ...values })).join('\n'))
  return path
}

const run = (source: string, ...more: string[]) => call(['backtest', definition, '--source', source, ...more])

describe('a small file', () => {
  test('gives a table, figures, and the same again', async () => {
    const source = await fileOf(sixWeeks())
    const json = join(await scratchFolder(), 'backtest.json')
    const { code, out, err } = await run(source, '--test-from', '2024-02-04', '--json', json)
    expect([code, out[0]]).toEqual([
      0,
      expect.stringMatching(/^clicks, 2024-02-04 to 2024-02-10: \d+ of 420 events measured, \d+ of them positive\.$/),
    ])
    expect(err[0]).toBe('  2024-01-01: 0 events')
    const names = out.slice(3, 7).map((line) => line.split(' ')[0])
    expect(names).toEqual(['split', 'retrained', 'continuous', 'arriving'])
    expect(out.filter((line) => /^ {2}2024-02-/.test(line))).toHaveLength(7)

    const figures = JSON.parse(readFileSync(json, 'utf8'))
    for (const name of names as string[]) {
      const { auc, ap, cp100, test, measured, wholeWeek } = figures[name]
      expect(test).toEqual({ from: '2024-02-04', until: '2024-02-11' })
      expect([auc, ap, cp100]).toEqual([measured.auc, measured.averagePrecision, measured.precisionAtK])
      expect(wholeWeek.rows).toBe(420)
      // The amount decides, and every line has learnt that.
      expect(auc, name).toBeGreaterThan(0.6)
      expect(auc).toBeLessThan(1)
    }
    expect(figures.split.taughtRows).toBe(420)
    expect(figures.split.gate).toBeNull()
    expect(figures.retrained.gate).toMatchObject({ against: 'split', promote: expect.any(Boolean) })
    expect(figures.retrained.gate.measures['candidate.averagePrecision']).toBe(figures.retrained.ap)
    expect(figures.retrained.gate.measures['champion.averagePrecision']).toBe(figures.split.ap)
    expect(figures.retrained.gate.measures.recordBytes).toBeGreaterThan(100)
    expect(out.join('\n')).toMatch(/ {2}gate: retrained would (?:not )?be promoted over split\. \S/)
    // Every event whose label counts by the end of the week's last label.
    expect(figures.continuous.taughtRows).toBeGreaterThan(40 * 60)
    expect(out[3]).toMatch(new RegExp(`^split +${figures.split.auc.toFixed(3)} +${figures.split.ap.toFixed(3)} `))

    const again = join(await scratchFolder(), 'again.json')
    await run(source, '--test-from', '2024-02-04', '--json', again)
    expect(withoutTimes(JSON.parse(readFileSync(again, 'utf8')))).toEqual(withoutTimes(figures))
  })

  test('draws only the lines that are requested', async () => {
    const source = await fileOf(sixWeeks(26))
    const { code, out } = await run(source, '--test-from', '2024-01-16', '--lines', 'split', 'arriving')
    expect(code).toBe(0)
    expect(out.slice(3, 5).map((line) => line.split(' ')[0])).toEqual(['split', 'arriving'])
    expect(out.join('\n')).not.toContain('retrained')
  })
})

describe('rejected events', () => {
  const more: StreamEvent[] = [
    click('guarded', 'u1', 30 * daySeconds, { amount: 13 }),
    { stream: 'clicks', values: { clickId: 'x', user: 'u', page: 'p', at: 'soon' } },
  ]
  const weekOf = ['--test-from', '2024-02-04', '--lines', 'split']

  test('are left out and told as far as they are allowed, and the figures are those without them', async () => {
    const [whole, clean] = [await fileOf(sixWeeksAnd(30, more)), await fileOf(sixWeeks())]
    const [json, cleanJson] = ['a.json', 'b.json'].map((name) => join(tmpdir(), `${process.pid}-${name}`)) as [
      string,
      string,
    ]
    onTestFinished(() => Promise.all([json, cleanJson].map((file) => rm(file, { force: true }))).then(() => undefined))
    const { code, out } = await run(whole, ...weekOf, '--allow-rejects', '2', '--json', json)
    expect([code, out.slice(-5)]).toEqual([
      0,
      [
        '2 rejected events left out.',
        '  1 × clicks type',
        expect.stringMatching(/^ {6}.*events\.jsonl, line \d+: \/at expected .*, received "soon"$/),
        '  1 × clicks function_threw',
        expect.stringMatching(/^ {6}guarded of 2024-01-31T00:00:00\.000Z: \/features\/guarded expected /),
      ],
    ])
    expect((await run(clean, ...weekOf, '--json', cleanJson)).code).toBe(0)
    const [found, expected] = [json, cleanJson].map((file) => JSON.parse(readFileSync(file, 'utf8')))
    expect(found.reasons).toEqual({ 'clicks type': 1, 'clicks function_threw': 1 })
    expect(withoutTimes({ ...found, rejected: 0, reasons: {} })).toEqual(withoutTimes(expected))
  })

  test('beyond what is allowed end with another code', async () => {
    const source = await fileOf(sixWeeksAnd(31, [click('guarded', 'u1', 31 * daySeconds, { amount: 13 })]))
    const { code, out } = await run(source, ...weekOf)
    expect([code, out.slice(-3, -1)]).toEqual([3, ['1 rejected events left out.', '  1 × clicks function_threw']])
  })
})

describe('a label that is unknown without a report', () => {
  /** Every third order is reviewed after a minute, good where the total is large; 50 orders a day. */
  async function orders(days: number): Promise<string> {
    const lines = Array.from({ length: days * 50 }, (_, i) => {
      const at = Date.UTC(2024, 0, 1) + Math.floor((i * 86_400_000) / 50)
      const order = { stream: 'orders', orderId: `o${i}`, userId: `u${i % 700}`, total: i % 49, at }
      const review = { stream: 'reviews', orderId: `o${i}`, isGood: i % 49 > 30, at: at + 60_000 }
      return i % 3 === 0 ? [order, review] : [order]
    })
    const path = join(await scratchFolder(), 'orders.jsonl')
    await writeFile(
      path,
      lines
        .flat()
        .map((line) => JSON.stringify(line))
        .join('\n'),
    )
    return path
  }

  test('makes events without one neither trained on nor measured', async () => {
    const json = join(await scratchFolder(), 'unknown.json')
    const source = await orders(44)
    const args = ['--source', source, '--test-from', '2024-02-04', '--json', json]
    const { code, out } = await call(['backtest', 'test/integration/fixtures/reviews.ts', ...args])
    expect([code, out[0]]).toEqual([
      0,
      expect.stringMatching(/^reviews, .*: \d+ of 350 events measured, \d+ of them positive\.$/),
    ])
    const figures = JSON.parse(readFileSync(json, 'utf8'))
    expect(figures.testRows).toBe(350)
    // Of the orders 1700 to 2049 those that three divides.
    const reviewed = Array.from({ length: 350 }, (_, i) => 1_700 + i).filter((i) => i % 3 === 0)
    for (const line of ['split', 'retrained']) {
      const { wholeWeek, auc } = figures[line]
      expect([wholeWeek.rows, wholeWeek.positives], line).toEqual([
        reviewed.length,
        reviewed.filter((i) => i % 49 > 30).length,
      ])
      // The total decides. Were the others negatives, two thirds of the week would be beside it.
      expect(auc, line).toBeGreaterThan(0.95)
    }
    expect([figures.split.taughtRows, figures.retrained.taughtRows]).toEqual([117, 467])
  })
})

describe('is rejected', () => {
  test.each([
    [
      [],
      '--test-from is missing: expected the first day of the week to test, such as --test-from 2026-03-02, with at least five weeks of events before it and the label delay after it.',
    ],
    [
      ['--test-from', '2024-01-20'],
      'The source begins at 2024-01-01T',
      'is trained on events from 2023-12-22T23:00:00.000Z on: expected --test-from 2024-01-30 or later.',
    ],
    [
      ['--test-from', '2024-02-10'],
      'The source ends at 2024-02-11T2',
      'events in the week from 2024-02-10, whose labels count until 2024-02-17T01:00:00.000Z: expected an earlier --test-from',
    ],
    [['--test-from', '2024-02-30'], "option '--test-from <day>' argument '2024-02-30' is invalid. Expected a day"],
    [['--test-from', '2024-02-04T12:00:00Z'], 'Expected a day such as 2018-08-08'],
    [['--test-from', '2024-02-04', '--lines', 'best'], 'Allowed choices are split, retrained, continuous, arriving.'],
    [['--test-from', '2024-02-04', '--seed', '3'], '--seed applies to a generated source'],
  ])('with %j', async (args, ...parts) => {
    const { code, out, err } = await run(await fileOf(sixWeeks()), ...args)
    expect([code, out]).toEqual([2, []])
    for (const part of parts) expect(err.join('\n')).toContain(part)
  })

  test('what live would reject', async () => {
    const events: StreamEvent[] = [
      ...sixWeeks(3),
      { stream: 'clicks', values: { clickId: 'x', user: 'u', at: 'soon' } },
    ]
    const { code, err } = await run(await fileOf(events), '--test-from', '2024-01-16', '--lines', 'split')
    expect([code, err.join('\n')]).toEqual([1, expect.stringContaining('holds no valid event')])
  })

  test('a pipeline that the handbook has no events for', async () => {
    const { code, err } = await run('handbook')
    expect([code, err.join('\n')]).toEqual([
      2,
      expect.stringContaining('--source handbook gives transactions and chargebacks'),
    ])
  })
})

test('ends at a signal', async () => {
  const source = await fileOf(sixWeeks())
  const { code, out } = await call(['backtest', definition, '--source', source, '--test-from', '2024-02-04'], {
    onLine: (line, process) => void (line.includes('2024-01-11') && process.emit('SIGINT')),
  })
  expect([code, out]).toEqual([130, []])
})

function withoutTimes(figures: object): object {
  const isTime = (name: string) =>
    ['seconds', 'learnMicros', 'predictMicros', 'latencyP50Us', 'latencyP99Us', 'promote', 'reasons'].includes(name)
  return JSON.parse(JSON.stringify(figures, (name, value) => (isTime(name) ? undefined : value)))
}
