/**
 * The log of one entity: facts come in, rows sorted by canonical order stay in memory. The batch loop and the feature reader call these
 * functions; the slot reader scans `rows` itself; `stored-log.ts` reads and writes what is stored. No clock, no store, no exception for a
 * full log.
 *
 * Life of a log: `decodeLog` with what the store holds, `dropBefore` with the floor of retention, then for each event
 * `findFact` and `insertFact`, and once a batch `takeWrite`. Drop before asking for duplicates: what the store
 * still holds of dead rows depends on when it was rewritten, what lies at or after the floor does not.
 */
import assert from 'node:assert/strict'
import { streamOfOrder } from '../schemas/kernel/canonical-order.ts'

/** Live rows that one entity may have; its events beyond are rejected as `entity_full`. */
export const logRowsMax = 1_048_576

const firstCapacityRows = 8

/** The sealed chunks of a stored log, once it has had one (`stored-log.ts`). */
export interface SealedChunks {
  /** First chunk that may still be in the store; those from here to `first` are dead. */
  kept: number
  /** Chunks `first` to `next` (exclusive) are part of the log. */
  first: number
  next: number
  /** Rows that these have together. */
  rows: number
  /** Of each of them: its rows, and a time that none of them is later than. */
  readonly sizes: Array<{ readonly rows: number; readonly maxTime: number }>
}

export interface EntityLog {
  /** Columns of a row, as in `FactLayout`. */
  readonly width: number
  /** Rows `start` to `end` (exclusive) are live and sorted by column 0 (time), then column 1 (order). */
  rows: Float64Array
  start: number
  end: number
  /** Rows of the stored tail, dead and repeated ones included, once all writes taken so far are applied; −1 where nothing is stored. */
  tailRows: number
  /** Null until the log has had a sealed chunk. */
  chunks: SealedChunks | null
  /** Rows at the end that are not written yet; retention may have dropped some of them. */
  unwritten: number
  /** Time and order of each row before these that is not written either: it was inserted late. */
  late: number[] | null
}

export function liveRows(log: EntityLog): number {
  return log.end - log.start
}

/** Where in `rows` the live fact of this stream with this id hash begins, at or after `sinceTime` (ms); −1 where there is none. */
export function findFact(log: EntityLog, stream: number, idHash: number, sinceTime: number): number {
  const { rows, width } = log
  for (let row = (log.end - 1) * width, first = log.start * width; row >= first; row -= width) {
    if (rows[row]! < sinceTime) return -1
    if (rows[row + 2] === idHash && streamOfOrder(rows[row + 1]!) === stream) return row
  }
  return -1
}

/**
 * Inserts a fact in order. False, and nothing changed, when the log is full. A fact is inserted once: one of the same
 * time and order is an error of the caller.
 */
export function insertFact(log: EntityLog, row: Float64Array): boolean {
  if (log.end - log.start >= logRowsMax) return false
  const { width } = log
  if ((log.end + 1) * width > log.rows.length) makeRoom(log)
  const rowNumber = upperBound(log, row[0]!, row[1]!)
  const at = rowNumber * width
  const { rows } = log
  assert(
    rowNumber === log.start || rows[at - width] !== row[0] || rows[at - width + 1] !== row[1],
    'a fact was inserted twice',
  )
  if (rowNumber < log.end) rows.copyWithin(at + width, at, log.end * width)
  rows.set(row.length === width ? row : row.subarray(0, width), at)
  noteUnwritten(log, rowNumber, row)
  log.end++
  return true
}

/** A row is found again by its place in order, wherever later ones move it. Called before `end` moves. */
function noteUnwritten(log: EntityLog, rowNumber: number, row: Float64Array): void {
  const unwritten = Math.min(log.unwritten, liveRows(log))
  if (rowNumber >= log.end - unwritten) {
    log.unwritten = unwritten + 1
    return
  }
  log.unwritten = unwritten
  log.late ??= []
  log.late.push(row[0]!, row[1]!)
}

/** Takes the fact that was inserted last, this one, back out, as if it had never come. */
export function removeLastInserted(log: EntityLog, row: Float64Array): void {
  const { rows, width, late } = log
  const [time, order] = [row[0]!, row[1]!]
  if (late !== null && late.at(-2) === time && late.at(-1) === order) late.length -= 2
  else {
    assert(log.unwritten > 0, 'no fact was inserted since the last write')
    log.unwritten--
  }
  const rowNumber = upperBound(log, time, order) - 1
  const at = rowNumber * width
  // A fact that retention has dropped meanwhile is no longer among the live rows.
  if (rowNumber >= log.start && rows[at] === time && rows[at + 1] === order) {
    rows.copyWithin(at, at + width, log.end * width)
    log.end--
  }
}

/** Drops the facts whose time is before `floorTime` (ms). */
export function dropBefore(log: EntityLog, floorTime: number): void {
  const { rows, width } = log
  while (log.start < log.end && rows[log.start * width]! < floorTime) log.start++
}

/**
 * Row after the last live one that is at or before (time, order). The end is tried first: facts mostly come in order.
 */
export function upperBound(log: EntityLog, time: number, order: number): number {
  const { rows, width } = log
  let low = log.start
  let high = log.end
  if (high > low && isAtOrBefore(rows, (high - 1) * width, time, order)) return high
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isAtOrBefore(rows, middle * width, time, order)) low = middle + 1
    else high = middle
  }
  return low
}

function isAtOrBefore(rows: Float64Array, at: number, time: number, order: number): boolean {
  const rowTime = rows[at]!
  return rowTime < time || (rowTime === time && rows[at + 1]! <= order)
}

/**
 * Room for one more row at the end: the dead rows at the front are taken back when they are half of the capacity, else
 * it doubles.
 */
function makeRoom(log: EntityLog): void {
  const { rows, width, start, end } = log
  const live = end - start
  const capacityRows = rows.length / width
  if (start > 0 && start * 2 >= capacityRows) {
    rows.copyWithin(0, start * width, end * width)
  } else {
    const grown = new Float64Array(Math.max(firstCapacityRows, live * 2) * width)
    grown.set(rows.subarray(start * width, end * width))
    log.rows = grown
  }
  log.start = 0
  log.end = live
}
