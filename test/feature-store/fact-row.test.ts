import { describe, expect, it } from 'vitest'
import { compileFactRow, createFactRow, type FactRow, idWord } from '../../feature-store/fact-row.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import { createKeyedHash, fixedHashKey, hashIdText } from '../../schemas/kernel/keyed-hash.ts'
import type { EntityPlan, StreamPlan } from '../../schemas/plan/plan.ts'

const streams = [
  { index: 0, name: 'payments', idField: 'id', timeField: 'at', fields: [{ name: 'amount', kind: 'number' }] },
  { index: 1, name: 'reports', idField: 'number', timeField: 'reportedAt', fields: [] },
] as unknown as StreamPlan[]

const entity: EntityPlan = {
  name: 'shop',
  keyFields: new Map(),
  layout: {
    width: 7,
    knownColumn: 4,
    sources: [
      {
        stream: 0,
        atField: 'at',
        values: [
          { field: 'amount', column: 5, decimals: 2 },
          { field: 'online', column: 6, decimals: null },
        ],
      },
      { stream: 1, atField: 'paidAt', values: [] },
    ],
  },
  slots: [],
  retentionMs: 1000,
}

const numbersOf = ({ cells }: FactRow) => [...cells].filter((_, column) => column !== 2 && column !== 3)
const idIn = ({ words }: FactRow) => [words[idWord], words[idWord + 1]]
function hashed(stream: number, id: string) {
  const hash = createKeyedHash(fixedHashKey)
  hashIdText(hash, stream, id)
  return [hash.low, hash.high]
}

describe('fact row', () => {
  const writeFactRow = compileFactRow(entity, streams, fixedHashKey)

  it('holds time, order, known time and scaled values, and the hash of its id', () => {
    const row = createFactRow(entity.layout)
    writeFactRow(0, { id: 'p-1', at: 1_000, amount: 1.15, online: true }, orderOf(0, 2, 9), row)
    expect(numbersOf(row)).toEqual([1_000, orderOf(0, 2, 9), 1_000, 115, 1])
    expect(idIn(row)).toEqual(hashed(0, 'p-1'))
  })

  it('counts at the declared time and is known at the stream’s own; columns of other streams are missing', () => {
    const row = createFactRow(entity.layout)
    row.cells.fill(7)
    writeFactRow(1, { number: 12, paidAt: 1_000, reportedAt: 9_000 }, orderOf(1, 0, 0), row)
    expect(numbersOf(row)).toEqual([1_000, orderOf(1, 0, 0), 9_000, Number.NaN, Number.NaN])
    expect(idIn(row)).toEqual(hashed(1, '12'))
  })

  it('marks a missing value, and stores no negative zero', () => {
    const row = createFactRow(entity.layout)
    writeFactRow(0, { id: 'p-2', at: 5, amount: null, online: -0 }, orderOf(0, 0, 1), row)
    expect(row.cells[5]).toBeNaN()
    expect(row.cells[6]).toBe(0)
  })

  it('makes declared decimals whole numbers, however they are written in binary', () => {
    const row = createFactRow(entity.layout)
    for (let cents = 0; cents < 20_000; cents++) {
      writeFactRow(0, { id: 'p', at: 5, amount: cents / 100, online: false }, 1, row)
      expect(row.cells[5]).toBe(cents)
    }
  })

  it('rejects what validation should have stopped', () => {
    const row = createFactRow(entity.layout)
    expect(() => writeFactRow(0, { id: 'p', at: null, amount: 1, online: true }, 1, row)).toThrow(
      'payments.at is not a time',
    )
    expect(() => writeFactRow(0, { id: 'p', at: 1, amount: 'much', online: true }, 1, row)).toThrow(
      'payments.amount is text and has no place in a fact',
    )
    expect(() => writeFactRow(2, {}, 1, row)).toThrow('stream 2 leaves no facts with entity shop')
  })
})
