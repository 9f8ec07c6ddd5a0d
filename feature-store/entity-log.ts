/**
 * The log of one entity: facts come in, rows sorted by canonical order stay in memory, and the bytes to write to the
 * store come out. The batch loop and the feature reader call these functions; the slot reader scans `rows` itself. No
 * clock, no store, no exception for a full log.
 *
 * Life of a log: `decodeLog` with what the store holds, `dropBefore` with the floor of retention, then for each event
 * `findFact` and `insertFact`, and once a batch `takeWrite`. Drop before asking for duplicates: what the store
 * still holds of dead rows depends on when it was rewritten, what lies at or after the floor does not.
 */
import assert from 'node:assert/strict'
import { streamOfOrder } from '../schemas/kernel/canonical-order.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { FactLayout } from '../schemas/plan/plan.ts'
import type { LogWrite } from './store.ts'

/** Live rows that one entity may have; its events beyond are rejected as `entity_full`. */
export const logRowsMax = 262_144

const bytesPerValue = 8
const firstCapacityRows = 8
const noRows = new Float64Array(0)

// Stored rows are little-endian doubles and are copied unchanged.
assert(new Uint8Array(new Float64Array([1]).buffer)[7] === 0x3f, 'entity logs need a little-endian machine')

export interface EntityLog {
  /** Columns of a row, as in `FactLayout`. */
  readonly width: number
  /** Rows `start` to `end` (exclusive) are live and sorted by column 0 (time), then column 1 (order). */
  rows: Float64Array
  start: number
  end: number
  /** Rows that the store holds, dead and repeated ones included, once all writes taken so far are applied. */
  storedRows: number
  /** Values of the rows inserted since the last write, in order of arrival. */
  unwritten: number[]
}

/** The log that the store's bytes encode, each fact once; null is an entity without facts. */
export function decodeLog(bytes: Buffer | null, layout: FactLayout): EntityLog {
  const { width } = layout
  if (bytes === null) return { width, rows: noRows, start: 0, end: 0, storedRows: 0, unwritten: [] }
  const rowBytes = width * bytesPerValue
  if (bytes.length % rowBytes !== 0) {
    throw new PipelineError(
      'state_foreign',
      `A stored log is ${bytes.length} bytes long; expected a multiple of ${rowBytes} (rows of ${width} columns): ` +
        'it was written by another definition. Start with --rebuild.',
      { details: { bytes: bytes.length, rowBytes } },
    )
  }
  const count = bytes.length / rowBytes
  // Room for some more: a log is mostly loaded because a fact came.
  const rows = new Float64Array((count + firstCapacityRows + (count >> 3)) * width)
  new Uint8Array(rows.buffer).set(bytes)
  const log = { width, rows, start: 0, end: count, storedRows: count, unwritten: [] }
  arrangeRows(log)
  return log
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
  for (let column = 0; column < width; column++) {
    const value = row[column]!
    rows[at + column] = value
    log.unwritten.push(value)
  }
  log.end++
  return true
}

/** Takes the fact that was inserted last back out, as if it had never come. */
export function removeLastInserted(log: EntityLog): void {
  const { rows, width, unwritten } = log
  const from = unwritten.length - width
  assert(from >= 0, 'no fact was inserted since the last write')
  const rowNumber = upperBound(log, unwritten[from]!, unwritten[from + 1]!) - 1
  const at = rowNumber * width
  // A fact that retention has dropped meanwhile is no longer among the live rows.
  if (rowNumber >= log.start && rows[at] === unwritten[from] && rows[at + 1] === unwritten[from + 1]) {
    rows.copyWithin(at, at + width, log.end * width)
    log.end--
  }
  unwritten.length = from
}

/** Drops the facts whose time is before `floorTime` (ms). */
export function dropBefore(log: EntityLog, floorTime: number): void {
  const { rows, width } = log
  while (log.start < log.end && rows[log.start * width]! < floorTime) log.start++
}

/**
 * What brings the store's log of this entity to this log, null when it is there already. Afterwards the log counts as
 * written: when the write is lost, so is the log, and both are reloaded. `replace` where nothing is stored, so that
 * nothing that Redis may bring back is before it (decision 35), and once more than half of the stored rows would be dead.
 */
export function takeWrite(log: EntityLog, key: string): LogWrite | null {
  const { width, unwritten } = log
  const live = log.end - log.start
  const storedNext = log.storedRows + unwritten.length / width
  let write: LogWrite | null = null
  if (live === 0) {
    if (log.storedRows > 0) write = { key, kind: 'remove', bytes: Buffer.alloc(0) }
    log.storedRows = 0
  } else if (log.storedRows === 0 || storedNext - live > live) {
    write = { key, kind: 'replace', bytes: encodeLiveRows(log) }
    log.storedRows = live
  } else if (unwritten.length > 0) {
    write = { key, kind: 'append', bytes: encodeValues(unwritten) }
    log.storedRows = storedNext
  }
  if (unwritten.length > 0) log.unwritten = []
  return write
}

/** The live rows as they are stored: little-endian doubles, row after row. */
export function encodeLiveRows(log: EntityLog): Buffer {
  const { rows, width } = log
  const bytes = Buffer.allocUnsafe((log.end - log.start) * width * bytesPerValue)
  bytes.set(new Uint8Array(rows.buffer, log.start * width * bytesPerValue, bytes.length))
  return bytes
}

function encodeValues(values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(values.length * bytesPerValue)
  for (let index = 0; index < values.length; index++) bytes.writeDoubleLE(values[index]!, index * bytesPerValue)
  return bytes
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

/**
 * In the store rows are in order of arrival, and a Redis that died in the middle of a step may hold some of them twice (decision 35). Most
 * logs came in order and are left alone.
 */
function arrangeRows(log: EntityLog): void {
  const { rows, width, end } = log
  const compare = (a: number, b: number) =>
    rows[a * width]! - rows[b * width]! || rows[a * width + 1]! - rows[b * width + 1]!
  let arranged = 1
  while (arranged < end && compare(arranged - 1, arranged) < 0) arranged++
  if (arranged >= end) return
  const rowNumbers = Uint32Array.from({ length: end }, (_, rowNumber) => rowNumber).sort(compare)
  const ordered = new Float64Array(rows.length)
  let kept = 0
  rowNumbers.forEach((rowNumber, index) => {
    if (index > 0 && compare(rowNumbers[index - 1]!, rowNumber) === 0) return
    ordered.set(rows.subarray(rowNumber * width, (rowNumber + 1) * width), kept++ * width)
  })
  log.rows = ordered
  log.end = kept
}
