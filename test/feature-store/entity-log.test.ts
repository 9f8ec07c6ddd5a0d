import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeLog,
  dropBefore,
  type EntityLog,
  encodeLiveRows,
  findFact,
  insertFact,
  liveRows,
  logRowsMax,
  removeLastInserted,
  takeWrite,
} from '../../feature-store/entity-log.ts'
import type { LogWrite } from '../../feature-store/store.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { FactLayout } from '../../schemas/plan/plan.ts'

const layout: FactLayout = { width: 4, knownColumn: null, sources: [] }

function row(time: number, order: number, id = order, value = 0): Float64Array {
  return Float64Array.of(time, order, id, value)
}

function logOf(...times: number[]): EntityLog {
  const log = decodeLog(null, layout)
  times.forEach((time, order) => {
    insertFact(log, row(time, order))
  })
  return log
}

function timesOf(log: EntityLog): number[] {
  return Array.from({ length: liveRows(log) }, (_, index) => log.rows[(log.start + index) * layout.width]!)
}

/** What the store would do with a write. */
function stored(before: Buffer | null, write: LogWrite | null): Buffer | null {
  if (write === null) return before
  if (write.kind === 'remove') return null
  return write.kind === 'replace' ? write.bytes : Buffer.concat([before ?? Buffer.alloc(0), write.bytes])
}

describe('entity log', () => {
  it('keeps facts sorted by time, then order, in any order of arrival', () => {
    const log = decodeLog(null, layout)
    for (const [time, order] of [
      [5, 2],
      [3, 9],
      [5, 1],
      [9, 0],
      [4, 4],
      [5, 3],
    ] as const) {
      expect(insertFact(log, row(time, order, order, time * 10))).toBe(true)
    }
    expect([...log.rows.subarray(log.start * 4, log.end * 4)]).toEqual(
      [
        [3, 9, 9, 30],
        [4, 4, 4, 40],
        [5, 1, 1, 50],
        [5, 2, 2, 50],
        [5, 3, 3, 50],
        [9, 0, 0, 90],
      ].flat(),
    )
  })

  it('has each fact once, however often the store holds it', () => {
    const facts = [row(1, 1), row(3, 2), row(2, 3), row(3, 4)]
    const bytes = (...rowNumbers: number[]) =>
      Buffer.concat(rowNumbers.map((row) => Buffer.from(new Uint8Array(facts[row]!.buffer))))
    for (const rowNumbers of [
      [0, 1, 1],
      [0, 1, 2, 1, 2, 3],
      [1, 2, 3, 1, 0, 2, 3],
    ]) {
      const log = decodeLog(bytes(...rowNumbers), layout)
      const unique = [...new Set(rowNumbers)].map((row) => facts[row]!)
      unique.sort((a, b) => a[0]! - b[0]! || a[1]! - b[1]!)
      expect(encodeLiveRows(log)).toEqual(Buffer.concat(unique.map((fact) => Buffer.from(new Uint8Array(fact.buffer)))))
      // The repeated ones count as dead: enough of them, and the log is rewritten.
      expect(log.storedRows).toBe(rowNumbers.length)
    }
  })

  it('rejects the same fact twice as an error of the caller', () => {
    const log = logOf(1, 2)
    expect(() => insertFact(log, row(2, 1))).toThrow('a fact was inserted twice')
  })

  it('knows a duplicate by stream and id hash', () => {
    const log = decodeLog(null, layout)
    insertFact(log, row(5, orderOf(0, 3, 8), 111))
    insertFact(log, row(6, orderOf(1, 3, 8), 222))
    expect(findFact(log, 0, 111, Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(0)
    expect(findFact(log, 1, 222, Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(0)
    expect(findFact(log, 1, 111, Number.NEGATIVE_INFINITY)).toBe(-1)
    expect(findFact(log, 0, 222, Number.NEGATIVE_INFINITY)).toBe(-1)
    dropBefore(log, 6)
    expect(findFact(log, 0, 111, Number.NEGATIVE_INFINITY)).toBe(-1)
  })

  it('takes the last inserted fact out without a trace', () => {
    const log = logOf(10, 20, 30)
    takeWrite(log, 'k')
    const before = encodeLiveRows(log)
    insertFact(log, row(15, 99))
    removeLastInserted(log)
    expect(encodeLiveRows(log)).toEqual(before)
    expect(takeWrite(log, 'k')).toBeNull()
    expect(() => removeLastInserted(log)).toThrow('no fact was inserted since the last write')
  })

  it('takes out a fact that retention has dropped since', () => {
    const log = logOf(10, 20)
    insertFact(log, row(5, 99))
    dropBefore(log, 10)
    removeLastInserted(log)
    expect(timesOf(log)).toEqual([10, 20])
    expect(takeWrite(log, 'k')?.bytes).toEqual(encodeLiveRows(logOf(10, 20)))
  })

  it('drops what is before the floor and keeps what is on it', () => {
    const log = logOf(10, 20, 30)
    dropBefore(log, 20)
    expect(timesOf(log)).toEqual([20, 30])
    dropBefore(log, 31)
    expect(timesOf(log)).toEqual([])
  })

  it('reports that it is full and stays unchanged', () => {
    const bytes = new Float64Array(logRowsMax * 4)
    for (let index = 0; index < logRowsMax; index++) bytes.set(row(index, index), index * 4)
    const log = decodeLog(Buffer.from(bytes.buffer), layout)
    expect(insertFact(log, row(logRowsMax, 0))).toBe(false)
    expect(liveRows(log)).toBe(logRowsMax)
    expect(takeWrite(log, 'k')).toBeNull()
    dropBefore(log, 1)
    expect(insertFact(log, row(logRowsMax, 0))).toBe(true)
  })

  it('reuses the room of dropped facts', () => {
    const log = logOf(...Array.from({ length: 8 }, (_, index) => index))
    const { rows } = log
    for (let time = 8; time < 1_000; time++) {
      dropBefore(log, time - 3)
      insertFact(log, row(time, time))
    }
    expect(log.rows).toBe(rows)
    expect(timesOf(log)).toEqual([996, 997, 998, 999])
  })

  it('rejects stored bytes of another width', () => {
    expect(() => decodeLog(Buffer.alloc(33), layout)).toThrow(
      'A stored log is 33 bytes long; expected a multiple of 32 (rows of 4 columns)',
    )
  })

  describe('write to the store', () => {
    it('begins a log again, over any content, and appends the new facts in the order in which they came', () => {
      const log = logOf(10, 20)
      expect(takeWrite(log, 'k')).toEqual({ key: 'k', kind: 'replace', bytes: encodeLiveRows(log) })
      insertFact(log, row(30, 7, 70, 0.5))
      insertFact(log, row(15, 8, 80, Number.NaN))
      const write = takeWrite(log, 'k')
      expect(write?.kind).toBe('append')
      expect([...new Float64Array(new Uint8Array(write!.bytes).buffer)]).toEqual([
        30,
        7,
        70,
        0.5,
        15,
        8,
        80,
        Number.NaN,
      ])
      expect(takeWrite(log, 'k')).toBeNull()
    })

    it('replaces once more than half of what is stored would be dead', () => {
      const log = logOf(1, 2, 3, 4)
      takeWrite(log, 'k')
      dropBefore(log, 3)
      expect(takeWrite(log, 'k')).toBeNull()
      dropBefore(log, 4)
      expect(takeWrite(log, 'k')).toEqual({ key: 'k', kind: 'replace', bytes: encodeLiveRows(log) })
      expect(log.storedRows).toBe(1)
    })

    it('removes what is stored when nothing is left, and writes nothing where nothing was', () => {
      const log = logOf(1, 2)
      takeWrite(log, 'k')
      dropBefore(log, 3)
      expect(takeWrite(log, 'k')).toEqual({ key: 'k', kind: 'remove', bytes: Buffer.alloc(0) })
      insertFact(log, row(2, 9))
      dropBefore(log, 3)
      expect(takeWrite(log, 'k')).toBeNull()
    })

    it('brings the store to the same facts over any history, and never keeps more dead than live', () => {
      const action = fc.oneof(
        { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), time: fc.nat(50) }) },
        { weight: 2, arbitrary: fc.record({ kind: fc.constant('write' as const) }) },
        { weight: 1, arbitrary: fc.record({ kind: fc.constant('undo' as const) }) },
        { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), floor: fc.nat(50) }) },
        { weight: 1, arbitrary: fc.record({ kind: fc.constant('reload' as const) }) },
      )
      fc.assert(
        fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
          let log = decodeLog(null, layout)
          let store: Buffer | null = null
          let facts: Array<{ time: number; order: number }> = []
          let floor = 0
          let added: number[] = []
          actions.forEach((step, order) => {
            if (step.kind === 'insert') {
              insertFact(log, row(step.time, order))
              facts.push({ time: step.time, order })
              added.push(order)
            } else if (step.kind === 'undo') {
              const last = added.pop()
              if (last === undefined) return
              removeLastInserted(log)
              facts = facts.filter((fact) => fact.order !== last)
            } else if (step.kind === 'drop') {
              floor = Math.max(floor, step.floor)
            } else {
              store = stored(store, takeWrite(log, 'k'))
              added = []
              expect((store?.length ?? 0) / 32).toBe(log.storedRows)
              expect(log.storedRows).toBeLessThanOrEqual(2 * liveRows(log))
              if (step.kind === 'reload') log = decodeLog(store, layout)
            }
            dropBefore(log, floor)
            facts = facts.filter((fact) => fact.time >= floor)
            const expected = facts.toSorted((a, b) => a.time - b.time || a.order - b.order)
            expect(timesOf(log)).toEqual(expected.map(({ time }) => time))
          })
          store = stored(store, takeWrite(log, 'k'))
          const reloaded = decodeLog(store, layout)
          dropBefore(reloaded, floor)
          expect(encodeLiveRows(reloaded)).toEqual(encodeLiveRows(log))
        }),
        { numRuns: 500 },
      )
    })
  })
})
