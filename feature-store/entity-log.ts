/**
 * The log of one entity: facts come in, rows sorted by canonical order stay in memory. The batch loop and the feature reader call these
 * functions; the slot reader reads `rows` itself; `stored-log.ts` reads and writes what is stored. No clock, no store, no exception for a
 * full log. Ids and contents in rows are no numbers, and a double with their bits may not survive a number variable: rows are moved as
 * whole memory or word by word.
 *
 * Life of a log: `decodeLog` with what the store holds, `dropBefore` with the floor of retention, then for each event
 * `findFact` and `insertFact`, and once a batch `takeWrite`. Drop before asking for duplicates: what the store
 * still holds of dead rows depends on when it was rewritten, what lies at or after the floor does not.
 */
import assert from 'node:assert/strict'
import { streamOfOrder } from '../schemas/kernel/canonical-order.ts'
import { bytesOfMaxima } from './aggregates/block-maxima.ts'
import { mayBeBefore, noteOldest, slideAppended, slideInserted, slideRemoved } from './aggregates/sliding-windows.ts'
import {
  type AsideRows,
  asideAfter,
  asideRowsMax,
  createAsideRows,
  insertAside as putAside,
  removeAsideRow,
} from './aside-rows.ts'
import { type FactRow, idWord } from './fact-row.ts'
import {
  addId,
  createIdIndex,
  findEntry,
  firstEntry,
  type IdIndex,
  removeId,
  stepMs,
  stepsPeriodMs,
  stepTime,
} from './id-index.ts'
import { type EntityLog, isBefore, makeRoom, moveRows, putRow, rowsMoved, upperBound } from './log-rows.ts'

/** What those need who look at the rows of a log. */
export { type EntityLog, upperBound } from './log-rows.ts'

/** Bytes of live rows that one entity may have unless a setting says otherwise; its events beyond are rejected as `entity_full`. */
export const logBytesMax = 64 * 2 ** 20
const bytesPerValue = 8
/** From so many facts on, ids are looked up in an index. */
const indexedFrom = 128
/** A fact that would move more rows than this waits aside. */
const movedRowsMax = 256

/** How many facts fit into so many bytes. */
export function rowsOfBytes(width: number, bytes: number): number {
  return Math.floor(bytes / (width * bytesPerValue))
}

/** What finds the extremes of a large log. */
export function bytesBesideRows({ windows }: EntityLog): number {
  return windows === null || windows.maxima === null ? 0 : bytesOfMaxima(windows.maxima)
}

export function liveRows({ start, end, aside }: EntityLog): number {
  return end - start + (aside === null ? 0 : aside.count)
}

interface IdHash {
  readonly low: number
  readonly high: number
}

/** Where in `rows` the newest live fact of this stream and hash of an id begins, at or after `sinceTime` (ms); −1 where there is none. */
export function findFact(log: EntityLog, stream: number, id: IdHash, sinceTime: number): number {
  if (log.ids === null) {
    if (liveRows(log) < indexedFrom) return findTagged(log, stream, id, sinceTime)
    log.ids = indexOf(log)
    log.tagsAt = -1
  }
  return findIndexed(log, log.ids, stream, id, sinceTime)
}

/** Every row would be a line of the cache; sixteen tags are one. */
function findTagged(log: EntityLog, stream: number, id: IdHash, sinceTime: number): number {
  if (log.tagsAt === -1) {
    if (log.end === log.start) return -1
    moveRows(log, log.capacity)
  }
  const { words, tagsAt } = log
  const { low } = id
  const first = tagsAt + log.start
  let tag = tagsAt + log.end - 1
  while (tag >= first && words[tag] !== low) tag--
  return tag < first ? -1 : findBefore(log, tag - tagsAt + 1, stream, id, sinceTime)
}

function indexOf(log: EntityLog): IdIndex {
  mergeAside(log)
  const { rows, words, width, start, end } = log
  const ids = createIdIndex(end - start)
  for (let row = start; row < end; row++) addId(ids, words[2 * row * width + idWord + 1]!, rows[row * width]!)
  return ids
}

function findIndexed(log: EntityLog, ids: IdIndex, stream: number, id: IdHash, sinceTime: number): number {
  let entry = findEntry(ids, id.high, firstEntry(ids, id.high))
  if (entry === -1) return -1
  // It is there, but for one in a thousand of a million facts.
  mergeAside(log)
  const { rows, width, start, end } = log
  const [oldest, newest] = [rows[start * width]!, rows[(end - 1) * width]!]
  let found = -1
  for (; entry !== -1; entry = findEntry(ids, id.high, entry + 2)) {
    for (let time = stepTime(ids, entry, newest); time + stepMs > oldest; time -= stepsPeriodMs) {
      found = Math.max(found, findBetween(log, stream, id, Math.max(time, sinceTime), time + stepMs))
    }
  }
  return found
}

/** Among the facts of `fromTime` to `toTime` (exclusive). */
function findBetween(log: EntityLog, stream: number, id: IdHash, fromTime: number, toTime: number): number {
  return findBefore(log, upperBound(log, toTime, -1), stream, id, fromTime)
}

/** Among the rows before row `end`, from `fromTime` on. */
function findBefore(log: EntityLog, end: number, stream: number, { low, high }: IdHash, fromTime: number): number {
  const { rows, words, width } = log
  for (let row = (end - 1) * width, first = log.start * width; row >= first; row -= width) {
    if (rows[row]! < fromTime) return -1
    const id = 2 * row + idWord
    if (words[id] === low && words[id + 1] === high && streamOfOrder(rows[row + 1]!) === stream) return row
  }
  return -1
}

/**
 * Inserts a fact in order. False, and nothing changed, when the log would have more than `bytesMax`. A fact is inserted once: one of the
 * same time and order is an error of the caller.
 */
export function insertFact(log: EntityLog, row: FactRow, bytesMax = logBytesMax): boolean {
  const { width } = log
  if (liveRows(log) >= rowsOfBytes(width, bytesMax)) return false
  if (log.end === log.capacity) makeRoom(log, 1)
  const { cells, words } = row
  const { start, end } = log
  if (end === start || isBefore(log.rows, (end - 1) * width, cells[0]!, cells[1]!)) appendRow(log, row)
  else insertLate(log, row)
  if (log.ids !== null) addId(log.ids, words[idWord + 1]!, cells[0]!)
  return true
}

/** Behind the last row: how facts mostly come. */
function appendRow(log: EntityLog, { cells, words }: FactRow): void {
  const { end } = log
  log.unwritten = unwrittenRows(log) + 1
  putRow(log.words, end, words)
  if (log.tagsAt !== -1) log.words[log.tagsAt + end] = words[idWord]!
  log.end = end + 1
  if (log.windows !== null) slideAppended(log.windows, cells, 0, log.start)
}

function insertLate(log: EntityLog, row: FactRow): void {
  const { width, end, windows, tagsAt } = log
  const { cells, words } = row
  const rowNumber = upperBound(log, cells[0]!, cells[1]!)
  assertNew(log, row, rowNumber)
  // The last rows, as many as are not written, are those: none of them may be missing among them.
  const isFar = end - rowNumber > Math.max(movedRowsMax, unwrittenRows(log))
  noteUnwritten(log, rowNumber, cells)
  if (isFar) insertAside(log, row)
  else {
    const at = rowNumber * width
    log.rows.copyWithin(at + width, at, end * width)
    putRow(log.words, rowNumber, words)
    if (tagsAt !== -1) {
      log.words.copyWithin(tagsAt + rowNumber + 1, tagsAt + rowNumber, tagsAt + end)
      log.words[tagsAt + rowNumber] = words[idWord]!
    }
    log.end = end + 1
  }
  if (windows !== null) slideInserted(windows, cells, 0, isFar ? 0 : 1, log.start)
}

function insertAside(log: EntityLog, row: FactRow): void {
  log.aside ??= createAsideRows(log.width)
  if (log.aside.count === asideRowsMax) mergeAside(log)
  putAside(log.aside, log.width, row)
}

function assertNew({ rows, width, start }: EntityLog, { cells }: FactRow, rowNumber: number): void {
  const before = (rowNumber - 1) * width
  const isKnown = rowNumber > start && rows[before] === cells[0] && rows[before + 1] === cells[1]
  assert(!isKnown, 'a fact was inserted twice')
}

/** Puts the rows aside among the others, in one pass over what lies behind the first of them. */
export function mergeAside(log: EntityLog): void {
  const { aside, width } = log
  if (aside === null || aside.count === 0) return
  const { count } = aside
  if (log.end + count > log.capacity) makeRoom(log, count)
  const { rows, words, end } = log
  let until = end
  for (let index = count - 1; index >= 0; index--) {
    const at = index * width
    log.end = until
    const row = upperBound(log, aside.rows[at]!, aside.rows[at + 1]!)
    if (row < until) rows.copyWithin((row + index + 1) * width, row * width, until * width)
    for (let word = 0; word < 2 * width; word++) words[2 * (row + index) * width + word] = aside.words[2 * at + word]!
    until = row
  }
  log.end = end + count
  aside.count = 0
  rowsMoved(log)
}

/** A row is found again by its place in order, wherever later ones move it. Called before `end` moves. */
function noteUnwritten(log: EntityLog, rowNumber: number, cells: Float64Array): void {
  const unwritten = unwrittenRows(log)
  if (rowNumber >= log.end - unwritten) {
    log.unwritten = unwritten + 1
    return
  }
  log.unwritten = unwritten
  log.late ??= []
  log.late.push(cells[0]!, cells[1]!)
}

/** Rows at the end that are not written. */
function unwrittenRows({ unwritten, start, end }: EntityLog): number {
  return Math.min(unwritten, end - start)
}

/** Takes the fact that was inserted last, this one, back out, as if it had never come. */
export function removeLastInserted(log: EntityLog, { cells }: FactRow): void {
  const { late } = log
  const [time, order] = [cells[0]!, cells[1]!]
  if (late !== null && late.at(-2) === time && late.at(-1) === order) late.length -= 2
  else {
    assert(log.unwritten > 0, 'no fact was inserted since the last write')
    log.unwritten--
  }
  if (!removeAside(log, time, order)) removeRow(log, time, order)
}

/** False where it is not among those aside. */
function removeAside(log: EntityLog, time: number, order: number): boolean {
  const { aside, width } = log
  if (aside === null) return false
  const row = asideAfter(aside, width, time, order) - 1
  if (row < 0 || aside.rows[row * width] !== time || aside.rows[row * width + 1] !== order) return false
  forget(log, aside.rows, aside.words, row)
  removeAsideRow(aside, width, row)
  return true
}

function removeRow(log: EntityLog, time: number, order: number): void {
  const { rows, width } = log
  const row = upperBound(log, time, order) - 1
  const at = row * width
  // A fact that retention has dropped meanwhile is no longer among the live rows.
  if (row < log.start || rows[at] !== time || rows[at + 1] !== order) return
  forget(log, rows, log.words, row)
  rows.copyWithin(at, at + width, log.end * width)
  log.end--
  rowsMoved(log)
}

/** What else is kept of a fact. */
function forget(log: EntityLog, rows: Float64Array, words: Int32Array, row: number): void {
  const { ids, windows, width } = log
  if (ids !== null) removeId(ids, words[2 * row * width + idWord + 1]!, rows[row * width]!)
  if (windows !== null) slideRemoved(windows, rows, row * width)
}

/** Drops the facts whose time is before `floorTime` (ms). */
export function dropBefore(log: EntityLog, floorTime: number): void {
  if (log.windows === null || mayBeBefore(log.windows, floorTime)) dropRows(log, floorTime)
}

function dropRows(log: EntityLog, floorTime: number): void {
  const { rows, words, width, aside, windows, end } = log
  while (log.start < end && rows[log.start * width]! < floorTime) {
    forget(log, rows, words, log.start)
    log.start++
  }
  if (log.start === end) rowsMoved(log)
  if (aside !== null && aside.count > 0) dropAside(log, aside, floorTime)
  // What is aside is at or after the floor as well.
  if (windows === null) return
  const isAside = aside !== null && aside.count > 0
  noteOldest(windows, log.start < end && !isAside ? rows[log.start * width]! : floorTime)
}

function dropAside(log: EntityLog, aside: AsideRows, floorTime: number): void {
  const { width } = log
  const dropped = asideAfter(aside, width, floorTime, -1)
  for (let row = 0; row < dropped; row++) forget(log, aside.rows, aside.words, row)
  aside.rows.copyWithin(0, dropped * width, aside.count * width)
  aside.count -= dropped
}
