/** How logs are stored: what is written after any history, that it is read back, and that other bytes are refused. */
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { dropBefore, type EntityLog, insertFact, liveRows, removeLastInserted } from '../../feature-store/entity-log.ts'
import { createStepWrites, type StepWrites, tail, writeKind } from '../../feature-store/step-writes.ts'
import type { StoredLog } from '../../feature-store/store.ts'
import {
  decodeLog,
  encodeLiveRows,
  faultOf,
  headerBytes,
  readHeader,
  tailBytesMax,
  tailRowsMaxOf,
  takeWrite,
} from '../../feature-store/stored-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { rowOf } from '../support/fact-rows.ts'
import { applyTo, listWrites, logIn, logOfRows, storedRowsOf, takenFrom } from '../support/stored-logs.ts'
import { fuzzDecode } from './fuzz-stored-log.ts'

const layout = { width: 4, knownColumn: null, sources: [] }

function row(time: number, order: number, width = 4): Float64Array {
  const cells = new Float64Array(width).fill(Number.NaN)
  cells.set([time, order, order, time * 10])
  return cells
}

/** Also of the rows aside, which are left there. */
function timesOf({ rows, width, start, end, aside }: EntityLog): number[] {
  const times = Array.from({ length: end - start }, (_, index) => rows[(start + index) * width]!)
  for (let row = 0; row < (aside?.count ?? 0); row++) times.push(aside!.rows[row * width]!)
  return times.sort((a, b) => a - b)
}

function kindsOf(log: EntityLog): string[] {
  return takenFrom(log).map(({ kind, chunk }) => (chunk === tail ? kind : `${kind} ${chunk}`))
}

describe('a stored log', () => {
  it('has each fact once, however often the store holds it', () => {
    const facts = [row(1, 1), row(3, 2), row(2, 3), row(3, 4)]
    const header = storedRowsOf([row(0, 0)])[0]!.subarray(0, headerBytes)
    for (const rowNumbers of [
      [0, 1, 1],
      [0, 1, 2, 1, 2, 3],
      [1, 2, 3, 1, 0, 2, 3],
    ]) {
      const bytes = rowNumbers.map((number) => Buffer.from(new Uint8Array(facts[number]!.buffer)))
      const log = decodeLog([Buffer.concat([header, ...bytes])], layout)
      const unique = [...new Set(rowNumbers)].map((number) => facts[number]!)
      unique.sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!)
      expect(encodeLiveRows(log)).toEqual(encodeLiveRows(logOfRows(unique)))
      // The repeated ones count as dead: enough of them, and the log is rewritten.
      expect(log.tailRows).toBe(rowNumbers.length)
    }
  })

  it('is set first, whatever is there, and then gets its new facts appended', () => {
    const log = logOfRows([row(10, 1), row(20, 2)])
    expect(kindsOf(log)).toEqual(['set'])
    insertFact(log, rowOf(row(30, 7)))
    insertFact(log, rowOf(row(15, 8)))
    const [write, ...others] = takenFrom(log)
    expect([write!.kind, others.length]).toEqual(['append', 0])
    const cells = new Float64Array(new Uint8Array(write!.bytes).buffer)
    expect([...cells]).toEqual([15, 8, 8, 150, 30, 7, 7, 300])
    expect(kindsOf(log)).toEqual([])
  })

  it('keeps every bit of a cell, also where it is no number', () => {
    const fact = row(1, 1)
    // A signalling NaN, which arithmetic would change.
    new BigUint64Array(fact.buffer)[2] = 0xfff0_dead_beef_0001n
    const [stored] = storedRowsOf([fact])
    expect(stored!.readBigUInt64LE(headerBytes + 16)).toBe(0xfff0_dead_beef_0001n)
    const log = decodeLog([stored!], layout)
    insertFact(log, rowOf(row(0, 0)))
    expect(encodeLiveRows(log).readBigUInt64LE(32 + 16)).toBe(0xfff0_dead_beef_0001n)
  })

  it('is set anew once more than half of it is dead', () => {
    const log = logOfRows([1, 2, 3, 4].map((time) => row(time, time)))
    takenFrom(log)
    dropBefore(log, 3)
    expect(kindsOf(log)).toEqual([])
    dropBefore(log, 4)
    expect(takenFrom(log)).toEqual(takenFrom(logOfRows([row(4, 4)])))
    expect(log.tailRows).toBe(1)
  })

  it('is emptied when nothing is left, and deleted after that', () => {
    const log = logOfRows([row(1, 1)])
    takenFrom(log)
    dropBefore(log, 3)
    expect(takenFrom(log).map(({ kind, bytes }) => [kind, bytes.length])).toEqual([['set', headerBytes]])
    // First facts are set again: nothing that a torn step brings back stays before them.
    insertFact(log, rowOf(row(5, 5)))
    expect(kindsOf(log)).toEqual(['set'])
    dropBefore(log, 9)
    expect(kindsOf(log)).toEqual(['set'])
    expect(kindsOf(log)).toEqual(['delete'])
    expect(kindsOf(log)).toEqual([])
    insertFact(log, rowOf(row(5, 9)))
    dropBefore(log, 9)
    expect(kindsOf(log)).toEqual([])
  })

  it('seals a full tail without sending it, and deletes chunks one write after it has released them', () => {
    const max = tailRowsMaxOf(4)
    const log = logOfRows([row(0, 0)])
    let time = 1
    const grow = (count: number) => {
      for (const end = time + count; time < end; time++) insertFact(log, rowOf(row(time, time)))
    }
    takenFrom(log)
    grow(max)
    expect(takenFrom(log).map(({ kind, chunk, bytes }) => [kind, chunk, bytes.length])).toEqual([
      ['seal', 0, 0],
      ['set', tail, headerBytes + max * 32],
    ])
    grow(1)
    expect(kindsOf(log)).toEqual(['seal 1', 'set'])
    grow(max - 1)
    expect(kindsOf(log)).toEqual(['append'])
    dropBefore(log, max + 1)
    // Two of two chunks are dead.
    expect(kindsOf(log)).toEqual(['seal 2', 'set'])
    grow(max)
    expect(kindsOf(log)).toEqual(['append'])
    grow(1)
    expect(kindsOf(log)).toEqual(['delete 0', 'delete 1', 'seal 3', 'set'])
    dropBefore(log, time - 2)
    expect(kindsOf(log)).toEqual(['set'])
    grow(1)
    expect(kindsOf(log)).toEqual(['append'])
    dropBefore(log, time)
    expect(kindsOf(log)).toEqual(['delete 2', 'delete 3', 'set'])
    expect(kindsOf(log)).toEqual(['delete'])
  })

  it.each([
    [
      'bytes before the first layout had a header',
      () => [encodeLiveRows(logOfRows([row(1, 1)]))],
      'has no header of layout 2',
    ],
    ['rows of another width', () => storedRowsOf([row(1, 1, 5)]), 'hold 1 rows of 5 columns'],
    ['half a row', () => [storedRowsOf([row(1, 1)])[0]!.subarray(0, headerBytes + 16)], 'hold 0.5 rows of 4 columns'],
    ['a log without its chunk', () => hotLog().slice(1), 'there are 1 chunks of 2'],
    [
      'a log with a chunk in another place',
      () => [hotLog()[1]!, hotLog()[0]!, hotLog()[2]!],
      'chunk 0 has no header of its own',
    ],
  ])('refuses %s', (_, stored, found) => {
    expect(() => decodeLog(stored(), layout)).toThrow(found)
    expect(() => decodeLog(stored(), layout)).toThrow('Start with --rebuild.')
  })
})

function hotLog(): StoredLog {
  const count = 2 * tailRowsMaxOf(4) + 1
  return storedRowsOf(Array.from({ length: count }, (_, index) => row(index, index)))
}

type Action =
  | { readonly kind: 'insert'; readonly time: number; readonly count: number }
  | { readonly kind: 'drop'; readonly floor: number }
  | { readonly kind: 'write' | 'undo' | 'reload' }

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      time: fc.nat(80),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('undo' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('drop' as const), floor: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reload' as const) }) },
)

/** Applies writes, and checks what a store relies on. */
function applyChecked(stored: Map<string, Buffer>, writes: StepWrites): void {
  const before = stored.get('log:k')
  const header = before === undefined ? null : readHeader(before)!
  const keys = stored.size
  let set = false
  for (const [index, { kind, chunk, bytes }] of listWrites(writes).entries()) {
    expect(bytes.length).toBeLessThanOrEqual(tailBytesMax)
    if (kind === 'append') expect(writes.lengths[index]).toBe(stored.get('log:k')!.length + bytes.length)
    if (kind === 'append') expect(stored.get('log:k')!.length > headerBytes || header!.next > header!.first).toBe(true)
    if (kind === 'seal') expect([writes.lengths[index], set]).toEqual([before!.length, false])
    // Only what the stored header does not refer to, or a tail without rows.
    if (kind === 'delete' && chunk !== tail) expect(chunk >= header!.kept && chunk < header!.first).toBe(true)
    if (kind === 'delete' && chunk === tail)
      expect([before!.length, header!.next]).toEqual([headerBytes, header!.first])
    set ||= kind === 'set' && chunk === tail
  }
  applyTo(stored, writes)
  expect(stored.size - keys).toBe(writes.keysAdded)
}

// Of 500 columns, a tail has 8 rows.
test.each([
  [4, 300],
  [500, 60],
])('brings the store to the same facts over any history, in rows of %i columns', (width, numRuns) => {
  const wide = { width, knownColumn: null, sources: [] }
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      let log = decodeLog(null, wide)
      const stored = new Map<string, Buffer>()
      let facts: Array<{ time: number; order: number }> = []
      let [floor, order] = [0, 0]
      let added: Float64Array[] = []
      const write = () => {
        const writes = createStepWrites()
        takeWrite(log, 'k', writes)
        applyChecked(stored, writes)
        added = []
      }
      for (const step of actions) {
        if (step.kind === 'insert') {
          for (let count = 0; count < step.count; count++) {
            const fact = row(step.time + count, order++, width)
            insertFact(log, rowOf(fact))
            facts.push({ time: fact[0]!, order: fact[1]! })
            added.push(fact)
          }
        } else if (step.kind === 'undo') {
          const last = added.pop()
          if (last === undefined) continue
          removeLastInserted(log, rowOf(last))
          facts = facts.filter((fact) => fact.order !== last[1])
          // Only the last one of all is ever taken out.
          added = []
        } else if (step.kind === 'drop') {
          floor = Math.max(floor, step.floor)
        } else {
          write()
          if (step.kind === 'reload') log = decodeLog(logIn(stored, 'k'), wide)
        }
        dropBefore(log, floor)
        facts = facts.filter((fact) => fact.time >= floor)
        expect(timesOf(log)).toEqual(
          facts.toSorted((a, b) => a.time - b.time || a.order - b.order).map(({ time }) => time),
        )
      }
      write()
      const kept = logIn(stored, 'k')
      if (kept !== null) expect(faultOf(kept)).toBeNull()
      const reloaded = decodeLog(kept, wide)
      dropBefore(reloaded, floor)
      expect(encodeLiveRows(reloaded)).toEqual(encodeLiveRows(log))
      // What nobody needs goes: all but a header, and then that.
      dropBefore(log, Number.POSITIVE_INFINITY)
      for (let times = 0; times < 3; times++) write()
      expect(stored.size).toBe(0)
    }),
    { numRuns },
  )
})

test('a step deletes so many chunks, and the next ones delete the others', () => {
  const width = 4_000
  const log = logOfRows(Array.from({ length: 700 }, (_, index) => row(index, index, width)))
  const stored = new Map<string, Buffer>()
  const write = () => {
    const writes = createStepWrites()
    takeWrite(log, 'k', writes)
    applyChecked(stored, writes)
    return listWrites(writes).filter(({ kind }) => kind === 'delete').length
  }
  write()
  expect(stored.size).toBe(700)
  dropBefore(log, 699)
  expect([write(), write(), liveRows(log)]).toEqual([0, 0, 1])
  dropBefore(log, 700)
  expect([write(), write(), write()]).toEqual([500, 201, 0])
  expect(stored.size).toBe(0)
})

test('any bytes are decoded or refused', () => {
  expect(fuzzDecode({ seed: 14, inputs: 4_000 })).toMatchObject({ seed: 14, inputs: 4_000, others: [] })
})

test('every kind of write has a letter of its own', () => {
  expect(new Set(Object.values(writeKind)).size).toBe(4)
  expect(String.fromCharCode(...Object.values(writeKind))).toBe('ascd')
  expect(new PipelineError('state_foreign', '').code).toBe('state_foreign')
})
