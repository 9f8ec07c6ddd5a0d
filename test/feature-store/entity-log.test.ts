import { describe, expect, it } from 'vitest'
import {
  dropBefore,
  type EntityLog,
  findFact,
  insertFact,
  liveRows,
  logRowsMax,
  removeLastInserted,
} from '../../feature-store/entity-log.ts'
import { decodeLog, encodeLiveRows } from '../../feature-store/stored-log.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { FactLayout } from '../../schemas/plan/plan.ts'
import { takenFrom } from '../support/stored-logs.ts'

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
    const fact = row(0, 0)
    for (let time = 0; time < logRowsMax; time++) {
      fact.set([time, time])
      insertFact(log, fact)
    }
    takenFrom(log)
    expect(insertFact(log, row(logRowsMax, 0))).toBe(false)
    expect(liveRows(log)).toBe(logRowsMax)
    expect(takenFrom(log)).toEqual([])
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
})
