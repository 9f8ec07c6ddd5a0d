import { describe, expect, it } from 'vitest'
import {
  dropBefore,
  type EntityLog,
  findFact,
  insertFact,
  liveRows,
  logBytesMax,
  removeLastInserted,
  rowsOfBytes,
} from '../../feature-store/entity-log.ts'
import { type FactRow, idWord } from '../../feature-store/fact-row.ts'
import { createStepWrites, type StepWrites } from '../../feature-store/step-writes.ts'
import { decodeLog, encodeLiveRows, takeWrite } from '../../feature-store/stored-log.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { FactLayout } from '../../schemas/plan/plan.ts'
import { factRow, idOf } from '../support/fact-rows.ts'
import { applyTo, logIn, takenFrom } from '../support/stored-logs.ts'

const layout: FactLayout = { width: 5, knownColumn: null, sources: [] }

function row(time: number, order: number, id = order, value = 0): FactRow {
  return factRow(time, order, id, value)
}

function bytesOf(...rows: readonly FactRow[]): Buffer {
  return Buffer.concat(rows.map(({ cells }) => Buffer.from(new Uint8Array(cells.buffer))))
}

function writesOfLog(log: EntityLog): StepWrites {
  const writes = createStepWrites()
  takeWrite(log, 'k', writes)
  return writes
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
    const places = [
      [3, 9],
      [4, 4],
      [5, 1],
      [5, 2],
      [5, 3],
      [9, 0],
    ] as const
    expect(encodeLiveRows(log)).toEqual(bytesOf(...places.map(([time, order]) => row(time, order, order, time * 10))))
  })

  it('rejects the same fact twice as an error of the caller', () => {
    const log = logOf(1, 2)
    expect(() => insertFact(log, row(2, 1))).toThrow('a fact was inserted twice')
  })

  it('knows a duplicate by stream and id hash', () => {
    const log = decodeLog(null, layout)
    insertFact(log, row(5, orderOf(0, 3, 8), 111))
    insertFact(log, row(6, orderOf(1, 3, 8), 222))
    expect(findFact(log, 0, idOf(111), Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(0)
    expect(findFact(log, 1, idOf(222), Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(0)
    expect(findFact(log, 1, idOf(111), Number.NEGATIVE_INFINITY)).toBe(-1)
    expect(findFact(log, 0, idOf(222), Number.NEGATIVE_INFINITY)).toBe(-1)
    dropBefore(log, 6)
    expect(findFact(log, 0, idOf(111), Number.NEGATIVE_INFINITY)).toBe(-1)
  })

  it('keeps every bit of an id, also those that would be no number', () => {
    const patterns = [0x7ff80000, 0x7ff00001, 0xfff00000 | 0, 0x7fffffff, -1, 0x7ff7dead]
    const log = decodeLog(null, layout)
    const rows = patterns.flatMap((high, at) =>
      [1, -2].map((low, half) => {
        const fact = row(at, 2 * at + half)
        fact.words.set([low, high, high, low], idWord)
        return fact
      }),
    )
    // Backwards, so that rows are moved.
    for (const fact of rows.toReversed()) insertFact(log, fact)
    expect(encodeLiveRows(log)).toEqual(bytesOf(...rows))
    const last = row(99, 99)
    last.words.set([7, 0x7ff7dead], idWord)
    const stored = applyTo(new Map(), writesOfLog(log))
    insertFact(log, last)
    const again = decodeLog(logIn(applyTo(stored, writesOfLog(log)), 'k'), layout)
    for (const { words } of [...rows, last]) {
      expect(findFact(again, 0, { low: words[4]!, high: words[5]! }, Number.NEGATIVE_INFINITY)).toBeGreaterThanOrEqual(
        0,
      )
    }
    expect(encodeLiveRows(again)).toEqual(encodeLiveRows(log))
  })

  it('takes the last inserted fact out without a trace', () => {
    const log = logOf(10, 20, 30)
    takenFrom(log)
    const before = encodeLiveRows(log)
    insertFact(log, row(15, 99))
    removeLastInserted(log, row(15, 99))
    expect(encodeLiveRows(log)).toEqual(before)
    expect(takenFrom(log)).toEqual([])
    expect(() => removeLastInserted(log, row(15, 99))).toThrow('no fact was inserted since the last write')
  })

  it('takes out a fact that retention has dropped since', () => {
    const log = logOf(10, 20)
    insertFact(log, row(5, 99))
    dropBefore(log, 10)
    removeLastInserted(log, row(5, 99))
    expect(timesOf(log)).toEqual([10, 20])
    expect(takenFrom(log)).toEqual(takenFrom(logOf(10, 20)))
  })

  it('drops what is before the floor and keeps what is on it', () => {
    const log = logOf(10, 20, 30)
    dropBefore(log, 20)
    expect(timesOf(log)).toEqual([20, 30])
    dropBefore(log, 31)
    expect(timesOf(log)).toEqual([])
  })

  it('reports that it is full and stays unchanged', () => {
    const log = logOf()
    const bytesMax = 2 ** 16
    const rowsMax = rowsOfBytes(layout.width, bytesMax)
    for (let time = 0; time < rowsMax; time++) expect(insertFact(log, row(time, time), bytesMax)).toBe(true)
    takenFrom(log)
    expect(insertFact(log, row(rowsMax, 0), bytesMax)).toBe(false)
    expect(liveRows(log)).toBe(rowsMax)
    expect(takenFrom(log)).toEqual([])
    dropBefore(log, 1)
    expect(insertFact(log, row(rowsMax, 0), bytesMax)).toBe(true)
    expect(rowsOfBytes(layout.width, logBytesMax)).toBeGreaterThan(1_600_000)
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
})
