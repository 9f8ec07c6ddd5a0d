/**
 * How an entity's log lies in the store: rows in a tail under the entity's own key and, once that is full, in sealed chunks (decision 51).
 * What the store holds becomes a log (`decodeLog`), and what a batch changed in it becomes writes (`takeWrite`). The batch loop, the
 * feature reader and replays call these; both stores read the header.
 *
 * Three rules keep a step that Redis executes half, after two crashes, harmless (decision 35): first rows are set, not appended; a
 * chunk and the tail after it are set whole; and only what the header stored *before* a step no longer refers to is deleted in it.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { FactLayout } from '../schemas/plan/plan.ts'
import { liveRows, mergeAside } from './entity-log.ts'
import { createLog, type EntityLog, type SealedChunks, setRows, upperBound } from './log-rows.ts'
import { addWrite, type StepWrites, tail, writeKind } from './step-writes.ts'
import type { StoredLog } from './store.ts'

/** Of the header and of what it belongs to. State of another one is foreign. */
export const storedLayout = 2

/** Bytes of a tail, and so of a chunk, header included. */
export const tailBytesMax = 32_768

/** Sealed chunks of one log that a header can count, far beyond the rows that a log may have. */
const chunksMax = 2 ** 32 - 1
const bytesPerValue = 8
const spareRows = 8
const magic = 0x4c

// Stored rows are the memory of a row, copied unchanged.
assert(new Uint8Array(new Float64Array([1]).buffer)[7] === 0x3f, 'entity logs need a little-endian machine')

/**
 * At the head of a tail: magic (1 byte), layout (1), columns of a row (2), then four numbers of 4 bytes and 4 bytes of zeros. A chunk is a
 * sealed tail with the header that this had: its number is `next`.
 */
export interface StoredHeader {
  readonly width: number
  /** First chunk that may still be in the store; those before `first` are dead. */
  readonly kept: number
  /** Chunks `first` to `next` (exclusive) are part of the log. */
  readonly first: number
  readonly next: number
  /** Rows that these have together. */
  readonly sealedRows: number
}
export const headerBytes = 24

/** Null where the bytes do not begin with a header of this layout. */
export function readHeader(bytes: Buffer): StoredHeader | null {
  if (bytes.length < headerBytes || bytes[0] !== magic || bytes[1] !== storedLayout) return null
  const header = {
    width: bytes.readUInt16LE(2),
    kept: bytes.readUInt32LE(4),
    first: bytes.readUInt32LE(8),
    next: bytes.readUInt32LE(12),
    sealedRows: bytes.readUInt32LE(16),
  }
  return header.kept <= header.first && header.first <= header.next && header.width > 0 ? header : null
}

/** Rows behind a header. */
export function storedRows(bytes: Buffer, { width }: StoredHeader): number {
  return (bytes.length - headerBytes) / (width * bytesPerValue)
}

/** What is wrong with the pieces of a log, whatever definition they belong to; null where nothing is. */
export function faultOf(stored: StoredLog): string | null {
  const tailPiece = stored.at(-1)!
  const header = readHeader(tailPiece)
  if (header === null) return `a tail of ${tailPiece.length} bytes has no header of layout ${storedLayout}`
  const { first, next, sealedRows } = header
  if (stored.length - 1 !== next - first) return `there are ${stored.length - 1} chunks of ${next - first}`
  let rows = 0
  for (let index = 0; index < stored.length - 1; index++) {
    const chunk = readHeader(stored[index]!)
    if (chunk?.next !== first + index) return `chunk ${first + index} has no header of its own`
    rows += storedRows(stored[index]!, chunk)
  }
  return rows === sealedRows ? null : `its chunks have ${rows} rows of ${sealedRows}`
}

/** The log that the store's bytes encode, each fact once; null is an entity without facts. */
export function decodeLog(stored: StoredLog | null, layout: FactLayout): EntityLog {
  const { width } = layout
  const log = createLog(width)
  if (stored === null) return log
  const fault = faultOf(stored)
  if (fault !== null) throw foreignLog(fault, { fault })
  const counts = stored.map((piece) => rowsOfPiece(piece, width))
  const count = counts.reduce((sum, rows) => sum + rows, 0)
  // Room for some more: a log is mostly loaded because a fact came.
  const rows = new Float64Array((count + spareRows + (count >> 3)) * width)
  const bytes = new Uint8Array(rows.buffer)
  let at = 0
  for (const piece of stored) {
    bytes.set(piece.subarray(headerBytes), at)
    at += piece.length - headerBytes
  }
  setRows(log, rows, count)
  log.tailRows = counts.at(-1)!
  log.chunks = chunksOf(stored, counts, rows, width)
  arrangeRows(log)
  return log
}

function rowsOfPiece(piece: Buffer, width: number): number {
  const header = readHeader(piece)!
  const rows = storedRows(piece, header)
  if (header.width === width && Number.isInteger(rows)) return rows
  const bytes = piece.length
  throw foreignLog(`${bytes} bytes hold ${rows} rows of ${header.width} columns`, { bytes, header, width }, width)
}

function foreignLog(found: string, details: Readonly<Record<string, unknown>>, width?: number): PipelineError {
  const expected = width === undefined ? 'a whole log' : `whole rows of ${width} columns`
  return new PipelineError(
    'state_foreign',
    `A stored log cannot be read: ${found}; expected ${expected}. It was cut, or written by another definition. Start with --rebuild.`,
    { details },
  )
}

function chunksOf(
  stored: StoredLog,
  counts: readonly number[],
  rows: Float64Array,
  width: number,
): SealedChunks | null {
  const { kept, first, next } = readHeader(stored.at(-1)!)!
  if (next === 0) return null
  let row = 0
  const sizes = counts.slice(0, -1).map((count) => {
    let maxTime = Number.NEGATIVE_INFINITY
    for (const end = row + count; row < end; row++) maxTime = Math.max(maxTime, rows[row * width]!)
    return { rows: count, maxTime }
  })
  return { kept, first, next, rows: row, sizes }
}

/**
 * Adds what brings the store's log of this entity to this log; nothing where it is there already. Afterwards the log counts as written: when
 * the step is lost, so is the log, and both are reloaded.
 */
export function takeWrite(log: EntityLog, key: string, into: StepWrites): void {
  mergeAside(log)
  const before = into.count
  if (liveRows(log) === 0) takeEmpty(log, key, into)
  else takeRows(log, key, into)
  forgetUnwritten(log)
  if (into.count > before) into.logs++
}

/** For those who store nothing. */
export function forgetUnwritten(log: EntityLog): void {
  log.unwritten = 0
  log.late = null
}

/** All facts are dead: the tail is emptied, and once that is stored it is deleted. */
function takeEmpty(log: EntityLog, key: string, into: StepWrites): void {
  if (log.tailRows === -1) return
  const { chunks } = log
  const isEmptied = log.tailRows === 0 && (chunks === null || chunks.next === chunks.first)
  dropDead(log, key, into)
  if (isEmptied && (chunks === null || chunks.kept === chunks.first)) {
    addWrite(into, key, writeKind.delete, tail, 0, 0, -1)
    log.tailRows = -1
    log.chunks = null
    return
  }
  if (chunks !== null) releaseChunks(chunks, Number.POSITIVE_INFINITY)
  setTail(log, key, into, noSelection, 0)
}

function takeRows(log: EntityLog, key: string, into: StepWrites): void {
  const { chunks, tailRows } = log
  const live = liveRows(log)
  const rowsMax = tailRowsMaxOf(log.width)
  const fresh = freshRows(log)
  const isSealed = chunks !== null && chunks.next > chunks.first
  const isWhole = isSealed ? live * 2 <= rowsMax : tailRows <= 0 || tailRows + fresh.count > live * 2
  if (isWhole) {
    dropDead(log, key, into)
    if (chunks !== null) releaseChunks(chunks, Number.POSITIVE_INFINITY)
    setTail(log, key, into, { late: noLate, from: log.start, count: live }, rowsMax)
    return
  }
  const isHalfDead = isSealed && deadChunks(chunks, oldestTime(log)) * 2 > chunks.sizes.length
  if (tailRows + fresh.count > rowsMax || isHalfDead) {
    sealTail(log, key, into, fresh, rowsMax)
  } else if (fresh.count > 0) {
    const size = fresh.count * rowBytesOf(log.width)
    const at = addWrite(into, key, writeKind.append, tail, tailBytes(log) + size, size, 0)
    copySelected(log, fresh, 0, fresh.count, into.bytes, at)
    log.tailRows = tailRows + fresh.count
  }
}

/** The stored tail becomes a chunk, without being sent, and a new tail begins with the rows that are not stored yet. */
function sealTail(log: EntityLog, key: string, into: StepWrites, fresh: Selection, rowsMax: number): void {
  dropDead(log, key, into)
  const chunks = chunksToFill(log)
  if (log.tailRows > 0) {
    addWrite(into, key, writeKind.seal, chunks.next, tailBytes(log), 0, 1)
    noteSealed(chunks, log.tailRows, newestStored(log, fresh))
  }
  releaseChunks(chunks, oldestTime(log))
  setTail(log, key, into, fresh, rowsMax)
}

/** Writes the tail anew with these rows; those that are too many for it go into chunks before. */
function setTail(log: EntityLog, key: string, into: StepWrites, selection: Selection, rowsMax: number): void {
  const rowBytes = rowBytesOf(log.width)
  let done = 0
  while (selection.count - done > rowsMax) {
    const chunks = chunksToFill(log)
    const at = addWrite(into, key, writeKind.set, chunks.next, 0, headerBytes + rowsMax * rowBytes, 1)
    writeHeader(into.bytes, at, log)
    copySelected(log, selection, done, rowsMax, into.bytes, at + headerBytes)
    noteSealed(chunks, rowsMax, newestSelected(log, selection, done + rowsMax))
    done += rowsMax
  }
  const rest = selection.count - done
  const isNew = log.tailRows === -1
  const at = addWrite(into, key, writeKind.set, tail, 0, headerBytes + rest * rowBytes, isNew ? 1 : 0)
  writeHeader(into.bytes, at, log)
  copySelected(log, selection, done, rest, into.bytes, at + headerBytes)
  log.tailRows = rest
}

/** Rows of a log that are written: those of `late`, then `count` in all with those from `from` on. */
interface Selection {
  readonly late: readonly number[]
  readonly from: number
  readonly count: number
}

const noLate: readonly number[] = []
const noSelection: Selection = { late: noLate, from: 0, count: 0 }

/** Live rows that were inserted since the last write. Those in order are at the end; late ones lie anywhere before them. */
function freshRows(log: EntityLog): Selection {
  const unwritten = Math.min(log.unwritten, liveRows(log))
  const late = log.late === null ? noLate : lateRows(log, log.late)
  return { late, from: log.end - unwritten, count: unwritten + late.length }
}

function lateRows(log: EntityLog, late: readonly number[]): number[] {
  const { rows, width, start } = log
  const found: number[] = []
  for (let index = 0; index < late.length; index += 2) {
    const row = upperBound(log, late[index]!, late[index + 1]!) - 1
    // Retention may have dropped it meanwhile.
    if (row >= start && rows[row * width] === late[index] && rows[row * width + 1] === late[index + 1]) found.push(row)
  }
  return found
}

/** As bytes: a cell may hold 64 bits that are no number. */
function copySelected(
  log: EntityLog,
  { late, from }: Selection,
  skip: number,
  count: number,
  target: Buffer,
  at: number,
): void {
  const lateEnd = Math.min(late.length, skip + count)
  for (let index = skip; index < lateEnd; index++) at = copyRows(log, late[index]!, 1, target, at)
  const done = Math.max(skip, lateEnd)
  copyRows(log, from + done - late.length, skip + count - done, target, at)
}

function copyRows({ rows, width }: EntityLog, row: number, count: number, target: Buffer, at: number): number {
  if (count <= 0) return at
  const size = count * rowBytesOf(width)
  target.set(new Uint8Array(rows.buffer, row * rowBytesOf(width), size), at)
  return at + size
}

function writeHeader(bytes: Buffer, at: number, { width, chunks }: EntityLog): void {
  bytes[at] = magic
  bytes[at + 1] = storedLayout
  bytes.writeUInt16LE(width, at + 2)
  bytes.writeUInt32LE(chunks?.kept ?? 0, at + 4)
  bytes.writeUInt32LE(chunks?.first ?? 0, at + 8)
  bytes.writeUInt32LE(chunks?.next ?? 0, at + 12)
  bytes.writeUInt32LE(chunks?.rows ?? 0, at + 16)
  bytes.writeUInt32LE(0, at + 20)
}

/** Deletes the chunks that the stored header no longer refers to, as many as the step has room for. */
function dropDead({ chunks }: EntityLog, key: string, into: StepWrites): void {
  if (chunks === null) return
  while (chunks.kept < chunks.first && into.dropsLeft > 0) {
    addWrite(into, key, writeKind.delete, chunks.kept, 0, 0, -1)
    into.dropsLeft--
    chunks.kept++
  }
}

/** The header to be written refers no longer to the first chunks that have only rows before `time`. */
function releaseChunks(chunks: SealedChunks, time: number): void {
  const dead = deadChunks(chunks, time)
  for (const { rows } of chunks.sizes.splice(0, dead)) chunks.rows -= rows
  chunks.first += dead
}

function deadChunks({ sizes }: SealedChunks, time: number): number {
  let dead = 0
  while (dead < sizes.length && sizes[dead]!.maxTime < time) dead++
  return dead
}

function chunksToFill(log: EntityLog): SealedChunks {
  log.chunks ??= { kept: 0, first: 0, next: 0, rows: 0, sizes: [] }
  assert(log.chunks.next < chunksMax, 'a log has no number for another chunk')
  return log.chunks
}

function noteSealed(chunks: SealedChunks, rows: number, maxTime: number): void {
  chunks.sizes.push({ rows, maxTime })
  chunks.rows += rows
  chunks.next++
}

/** No row that is stored is later: rows are in order, and those after it are fresh. */
function newestStored({ rows, width, start }: EntityLog, { from }: Selection): number {
  return from > start ? rows[(from - 1) * width]! : Number.NEGATIVE_INFINITY
}

/** No row of the first `count` of a selection is later: those of `late` lie before the others. */
function newestSelected({ rows, width, end }: EntityLog, { late, from }: Selection, count: number): number {
  const row = from + Math.max(count - late.length, 1) - 1
  return rows[Math.min(row, end - 1) * width]!
}

function oldestTime({ rows, width, start }: EntityLog): number {
  return rows[start * width]!
}

function rowBytesOf(width: number): number {
  return width * bytesPerValue
}

function tailBytes({ tailRows, width }: EntityLog): number {
  return headerBytes + tailRows * rowBytesOf(width)
}

/** At least one, however wide. */
export function tailRowsMaxOf(width: number): number {
  return Math.max(1, Math.floor((tailBytesMax - headerBytes) / rowBytesOf(width)))
}

/** The live rows as they are stored: little-endian cells, row after row. */
export function encodeLiveRows(log: EntityLog): Buffer {
  mergeAside(log)
  const bytes = Buffer.allocUnsafe(liveRows(log) * rowBytesOf(log.width))
  copyRows(log, log.start, liveRows(log), bytes, 0)
  return bytes
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
  setRows(log, ordered, kept)
}
