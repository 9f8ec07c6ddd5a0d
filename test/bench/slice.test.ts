import { beforeAll, describe, expect, test } from 'vitest'
import { parseMetrics } from '../../bench/metrics-text.ts'
import { sliceChunks } from '../../bench/slice.ts'
import w1 from '../../bench/w1.ts'
import w2 from '../../bench/w2.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { type HandbookTable, handbookEvents } from '../../pipelines/handbook.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { handbookTable } from '../support/handbook-table.ts'

const plan = compile(cardFraud)
let table: HandbookTable
beforeAll(() => {
  table = handbookTable()
})
const sliced = (from: number, count: number, of = plan) => [...sliceChunks(table, of, { from, count })].flat()

describe('a slice of the events', () => {
  test('is counted in transactions; slices that follow each other hold every event once and in order', () => {
    const whole = sliced(0, 40_000)
    expect(whole.filter(({ stream }) => stream === 'transactions').length).toBe(40_000)
    expect(whole.filter(({ stream }) => stream === 'chargebacks').length).toBeGreaterThan(0)
    expect([sliced(0, 3_333), sliced(3_333, 10_000), sliced(13_333, 26_667)].flat()).toEqual(whole)
    expect([...handbookEvents(table, { untilSecond: 86_400 })]).toEqual(whole.slice(0, sliced(0, 9_488).length))
  })

  test('leaves out what no stage consumes', () => {
    expect(new Set(sliced(0, 40_000, compile(w1)).map(({ stream }) => stream))).toEqual(new Set(['transactions']))
  })
})

test('w1 is the job of the peers: one stage, six features', () => {
  const { stages, features } = compile(w1)
  expect(stages.map(({ entity }) => entity.name)).toEqual(['customer'])
  expect(features.map(({ name }) => name)).toEqual(['count1d', 'mean1d', 'count7d', 'mean7d', 'count30d', 'mean30d'])
})

test('w2 is their second job: by customer as w1, then by terminal what was seen until a week ago', () => {
  const { stages, features } = compile(w2)
  expect(stages.map(({ entity }) => entity.name)).toEqual(['customer', 'terminal'])
  expect(features.map(({ name }) => name).slice(0, 6)).toEqual(compile(w1).features.map(({ name }) => name))
  expect(features.map(({ name }) => name).slice(6)).toEqual(['seen1d', 'seen7d', 'seen30d'])
})

test('a model of the plan fits every namespace', () => {
  expect(compile(cardFraud, { namespace: 'bench-1' }).fingerprint).toBe(plan.fingerprint)
})

test('metrics are summed over their labels, and names are not mixed up', () => {
  const sum = parseMetrics(
    [
      '# HELP cpu_seconds_total Seconds.',
      'cpu_seconds_total 1.5',
      'late{stage="a",partition="0"} 2',
      'late{stage="a",partition="1"} 3',
      'late_events{stage="a"} 100',
    ].join('\n'),
  )
  expect([sum('cpu_seconds_total'), sum('late'), sum('none')]).toEqual([1.5, 5, 0])
})
