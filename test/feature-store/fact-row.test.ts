import { describe, expect, it } from 'vitest'
import { compileFactRow, idHash } from '../../feature-store/fact-row.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { EntityPlan, StreamPlan } from '../../schemas/plan/plan.ts'

const streams = [
  { index: 0, name: 'payments', idField: 'id', timeField: 'at' },
  { index: 1, name: 'reports', idField: 'number', timeField: 'reportedAt' },
] as unknown as StreamPlan[]

const entity: EntityPlan = {
  name: 'shop',
  keyFields: new Map(),
  layout: {
    width: 6,
    knownColumn: 3,
    sources: [
      {
        stream: 0,
        atField: 'at',
        values: [
          { field: 'amount', column: 4, decimals: 2 },
          { field: 'online', column: 5, decimals: null },
        ],
      },
      { stream: 1, atField: 'paidAt', values: [] },
    ],
  },
  slots: [],
  retentionMs: 1000,
}

describe('fact row', () => {
  const writeFactRow = compileFactRow(entity, streams)

  it('holds time, order, id, known time and scaled values', () => {
    const row = new Float64Array(6)
    writeFactRow(0, { id: 'p-1', at: 1_000, amount: 1.15, online: true }, orderOf(0, 2, 9), row)
    expect([...row]).toEqual([1_000, orderOf(0, 2, 9), idHash('p-1'), 1_000, 115, 1])
  })

  it('counts at the declared time and is known at the stream’s own; columns of other streams are missing', () => {
    const row = new Float64Array(6).fill(7)
    writeFactRow(1, { number: 12, paidAt: 1_000, reportedAt: 9_000 }, orderOf(1, 0, 0), row)
    expect([...row]).toEqual([1_000, orderOf(1, 0, 0), idHash('12'), 9_000, Number.NaN, Number.NaN])
  })

  it('marks a missing value, and stores no negative zero', () => {
    const row = new Float64Array(6)
    writeFactRow(0, { id: 'p-2', at: 5, amount: null, online: -0 }, orderOf(0, 0, 1), row)
    expect(row[4]).toBeNaN()
    expect(row[5]).toBe(0)
  })

  it('makes declared decimals whole numbers, however they are written in binary', () => {
    const row = new Float64Array(6)
    for (let cents = 0; cents < 20_000; cents++) {
      writeFactRow(0, { id: 'p', at: 5, amount: cents / 100, online: false }, 1, row)
      expect(row[4]).toBe(cents)
    }
  })

  it('rejects what validation should have stopped', () => {
    const row = new Float64Array(6)
    expect(() => writeFactRow(0, { id: 'p', at: null, amount: 1, online: true }, 1, row)).toThrow(
      'payments.at is not a time',
    )
    expect(() => writeFactRow(0, { id: 'p', at: 1, amount: 'much', online: true }, 1, row)).toThrow(
      'payments.amount is text and has no place in a fact',
    )
    expect(() => writeFactRow(2, {}, 1, row)).toThrow('stream 2 leaves no facts with entity shop')
  })
})

describe('id hash', () => {
  it('is cyrb53', () => {
    // The low 53 bits of the digests that its author gives: 501c2ba782c97901, 459eda5bc254d2bf, fbce64cc3b748385.
    expect([idHash('a'), idHash('b'), idHash('revenge')]).toEqual([0x1c2ba782c97901, 0x1eda5bc254d2bf, 0xe64cc3b748385])
    expect(idHash('revenue')).toBe(8309097637345594)
  })

  it('fits a double and distinguishes many ids', () => {
    const hashes = Array.from({ length: 100_000 }, (_, index) => idHash(`tx-${index}`))
    expect(hashes.every((hash) => Number.isSafeInteger(hash) && hash >= 0)).toBe(true)
    expect(new Set(hashes).size).toBe(100_000)
  })
})
