/** Stored logs and writes made by hand: for tests of the stores, which look at nothing but the header of a tail. */
import { type EntityLog, insertFact } from '../../feature-store/entity-log.ts'
import {
  addWrite,
  createStepWrites,
  type StepWrites,
  startOfWrite,
  tail,
  writeKind,
} from '../../feature-store/step-writes.ts'
import type { StoredLog } from '../../feature-store/store.ts'
import { decodeLog, headerBytes, takeWrite } from '../../feature-store/stored-log.ts'
import { rowOf } from './fact-rows.ts'

/** A header of rows of one column, of a log without chunks: any text of whole 8 bytes can follow. */
export const plainHeader = Buffer.alloc(headerBytes)
plainHeader.set([0x4c, 2, 1])

/** One write of a step: its key and text, and for an append the text that should be there before. */
export interface PlainWrite {
  readonly key: string
  readonly kind: 'append' | 'set' | 'delete'
  readonly text: string | Buffer
  readonly before: string | Buffer
}

export function append(key: string, text: string | Buffer, before: string | Buffer): PlainWrite {
  return { key, kind: 'append', text, before }
}

/** The first text of a log, or all of it anew. */
export function set(key: string, text: string | Buffer): PlainWrite {
  return { key, kind: 'set', text, before: '' }
}

export function remove(key: string): PlainWrite {
  return { key, kind: 'delete', text: '', before: '' }
}

export function writesOf(...plain: readonly PlainWrite[]): StepWrites {
  const writes = createStepWrites()
  for (const { key, kind, text, before } of plain) {
    const bytes = kind === 'set' ? Buffer.concat([plainHeader, Buffer.from(text)]) : Buffer.from(text)
    const length = kind === 'append' ? headerBytes + Buffer.byteLength(before) + bytes.length : 0
    const at = addWrite(
      writes,
      key,
      writeKind[kind],
      tail,
      length,
      bytes.length,
      { append: 0, set: 1, delete: -1 }[kind],
    )
    bytes.copy(writes.bytes, at)
    writes.logs++
  }
  return writes
}

/** Without its header. */
export function textOf(log: StoredLog | null): string | null {
  return log === null ? null : Buffer.concat(log.map((piece) => piece.subarray(headerBytes))).toString()
}

/** Writes of whole logs, as of entities of which nothing is stored. */
export function wholeLogs(logs: Iterable<readonly [key: string, log: EntityLog]>): StepWrites {
  const writes = createStepWrites()
  for (const [key, log] of logs) {
    const unstored = { ...log, tailRows: -1, chunks: null, unwritten: log.end - log.start, late: null }
    takeWrite(unstored, key, writes)
  }
  return writes
}

export function logOfRows(rows: readonly Float64Array[]): EntityLog {
  const log = decodeLog(null, { width: rows[0]!.length, knownColumn: null, sources: [] })
  for (const row of rows) insertFact(log, rowOf(row))
  return log
}

/** What the store would have of a log of these rows. */
export function storedRowsOf(rows: readonly Float64Array[]): StoredLog {
  return logIn(applyTo(new Map(), wholeLogs([['', logOfRows(rows)]])), '')!
}

export interface TakenWrite {
  readonly key: string
  readonly kind: string
  /** `tail` for a write to the tail itself. */
  readonly chunk: number
  readonly bytes: Buffer
}

export function listWrites(writes: StepWrites): TakenWrite[] {
  return Array.from({ length: writes.count }, (_, index) => ({
    key: writes.keys[index]!,
    kind: Object.entries(writeKind).find(([, code]) => code === writes.kinds[index])![0],
    chunk: writes.chunks[index]!,
    bytes: Buffer.from(writes.bytes.subarray(startOfWrite(writes, index), writes.ends[index]!)),
  }))
}

export function takenFrom(log: EntityLog, key = 'k'): TakenWrite[] {
  const writes = createStepWrites()
  takeWrite(log, key, writes)
  return listWrites(writes)
}

/** What a store does with writes, in a map by `log:<key>` and `chunk:<number>:<key>`. */
export function applyTo(stored: Map<string, Buffer>, writes: StepWrites): Map<string, Buffer> {
  for (const { key, kind, chunk, bytes } of listWrites(writes)) {
    const name = chunk === tail ? `log:${key}` : `chunk:${chunk}:${key}`
    if (kind === 'delete') stored.delete(name)
    else if (kind === 'set') stored.set(name, bytes)
    else if (kind === 'append') stored.set(name, Buffer.concat([stored.get(name)!, bytes]))
    else stored.set(name, Buffer.from(stored.get(`log:${key}`)!))
  }
  return stored
}

export function logIn(stored: ReadonlyMap<string, Buffer>, key: string): StoredLog | null {
  const last = stored.get(`log:${key}`)
  if (last === undefined) return null
  const [first, next] = [last.readUInt32LE(8), last.readUInt32LE(12)]
  const chunks = Array.from({ length: next - first }, (_, index) => stored.get(`chunk:${first + index}:${key}`)!)
  return [...chunks, last]
}
