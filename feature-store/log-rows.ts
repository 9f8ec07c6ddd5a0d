/**
 * The memory of one entity's log: rows in canonical order, behind them the windows and tags that are kept of them. Grown and moved here for
 * `entity-log.ts`, which says what becomes of a fact.
 */
import { placeWindows, type SlidingWindows, slideMoved } from './aggregates/sliding-windows.ts'
import type { AsideRows } from './aside-rows.ts'
import { idWord } from './fact-row.ts'
import type { IdIndex } from './id-index.ts'

const firstCapacityRows = 8
const noRows = new Float64Array(0)
const noWords = new Int32Array(noRows.buffer)

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
  /**
   * Rows `start` to `end` (exclusive) are live and sorted by column 0 (time), then column 1 (order). Behind the rows that there is room
   * for lie the cells of the windows, then the tags: what an event needs is together.
   */
  rows: Float64Array
  /** The same memory as pairs of 32-bit halves. */
  words: Int32Array
  start: number
  end: number
  /** Rows that there is room for. */
  capacity: number
  /** Word of row 0 among the tags: of each live row the lower half of its id. −1: there are none, in a large log and as loaded. */
  tagsAt: number
  /** What a reader keeps of the windows at the log's newest event; null until the log is large. */
  windows: SlidingWindows | null
  /** Ids of the live facts; null in a small log. */
  ids: IdIndex | null
  /** Live rows that are not among `rows` yet; null or empty until a large log has some. `mergeAside` puts them there. */
  aside: AsideRows | null
  /** Rows at the end that are not written yet; retention may have dropped some of them. */
  unwritten: number
  /** Time and order of each row before these that is not written either: it was inserted late. */
  late: number[] | null
  /** Rows of the stored tail, dead and repeated ones included, once all writes taken so far are applied; −1 where nothing is stored. */
  tailRows: number
  /** Null until the log has had a sealed chunk. */
  chunks: SealedChunks | null
}

/** Without facts. Every field is in the object itself, those first that every event needs. */
export function createLog(width: number): EntityLog {
  return {
    width,
    rows: noRows,
    words: noWords,
    start: 0,
    end: 0,
    capacity: 0,
    tagsAt: -1,
    windows: null,
    ids: null,
    aside: null,
    unwritten: 0,
    late: null,
    tailRows: -1,
    chunks: null,
  }
}

/** The log's facts are these `count` rows. */
export function setRows(log: EntityLog, rows: Float64Array, count: number): void {
  log.rows = rows
  log.words = new Int32Array(rows.buffer)
  log.start = 0
  log.end = count
  log.capacity = (rows.length / log.width) | 0
  log.tagsAt = -1
}

export function putRow(target: Int32Array, row: number, words: Int32Array): void {
  const at = row * words.length
  for (let word = 0; word < words.length; word++) target[at + word] = words[word]!
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

export function isBefore(rows: Float64Array, at: number, time: number, order: number): boolean {
  const rowTime = rows[at]!
  const isEarlier = rows[at + 1]! < order
  return rowTime < time || (rowTime === time && isEarlier)
}

/**
 * Room for so many more rows at the end: dead rows at the front are taken back where they are a quarter of the capacity, else it becomes
 * half as much again as is live. More would be lines of the cache for nothing.
 */
export function makeRoom(log: EntityLog, more: number): void {
  const { rows, width, start, end, capacity } = log
  const live = end - start
  if (start > 0 && start * 4 >= capacity && live + more <= capacity) {
    rows.copyWithin(0, start * width, end * width)
    log.start = 0
    log.end = live
    rowsMoved(log)
  } else {
    moveRows(log, Math.max(firstCapacityRows, live + (live >> 1), live + more) | 0)
  }
}

/** Into new memory with room for so many rows. */
export function moveRows(log: EntityLog, capacity: number): void {
  const { rows, width, start, end, windows } = log
  // Integers for the compiler as well: whoever reads them later need not convert them.
  const cellsAt = (capacity * width) | 0
  const tagsAt = (cellsAt + (windows === null ? 0 : windows.plan.cellCount)) | 0
  const hasTags = log.ids === null
  const moved = new Float64Array(tagsAt + (hasTags ? Math.ceil(capacity / 2) : 0))
  moved.set(rows.subarray(start * width, end * width))
  if (windows !== null) placeWindows(windows, moved, cellsAt)
  log.rows = moved
  log.words = new Int32Array(moved.buffer)
  log.capacity = capacity
  log.start = 0
  log.end = end - start
  log.tagsAt = hasTags ? (2 * tagsAt) | 0 : -1
  rowsMoved(log)
}

/** The log keeps these. */
export function openWindows(log: EntityLog, windows: SlidingWindows): void {
  log.windows = windows
  moveRows(log, log.capacity)
}

/** What is kept by row number is to be looked for again. */
export function rowsMoved(log: EntityLog): void {
  if (log.tagsAt !== -1) writeTags(log)
  if (log.windows !== null) slideMoved(log.windows)
}

function writeTags({ words, width, start, end, tagsAt }: EntityLog): void {
  for (let row = start; row < end; row++) words[tagsAt + row] = words[2 * row * width + idWord]!
}
