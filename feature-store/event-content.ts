/**
 * An event's values in, two words out that tell whether another event of its id says the same: a keyed hash of the values, and which fields
 * it is of. Written into every fact by `fact-row.ts`, compared by the fold where an id comes again.
 *
 * Values are the validated ones, so JSON, our Avro and Avro with a foreign schema give the same. A field without a value adds nothing. The
 * second word lets contents of two versions of a definition be compared where both had values in the same fields, and only there: a
 * field that was sent all along and is declared only now makes no conflict of a repetition.
 *
 * Bits of the second word: 0 to 11 the fields that the stream declares, 12 to 23 those of them that have a value, 24 to 31 room (0).
 */
import { createHash } from 'node:crypto'
import type { EventValues, FieldPlan } from '../schemas/kernel/event.ts'
import { hashMessage, type KeyedHash, requireRoom, writeText } from '../schemas/kernel/keyed-hash.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { type EventRows, missingText, textAt } from '../schemas/wire/event-rows.ts'

/** Writes the two words at `at`. */
export type WriteContent = (event: EventValues, words: Int32Array, at: number) => void

const setBits = 12
const setMask = (1 << setBits) - 1

interface ContentField {
  readonly name: string
  /** Before its value in the hashed message. */
  readonly tag: number
  readonly kind: FieldPlan['kind']
  /** 10^decimals where declared: 1.1 is 1.1 however it was written in binary. */
  readonly scale: number | null
}

const numberCell = new Float64Array(1)
const numberWords = new Int32Array(numberCell.buffer)

/** `hash` is the caller's scratch space. */
export function compileContent(stream: Pick<StreamPlan, 'fields' | 'idField'>, hash: KeyedHash): WriteContent {
  const fields = contentFieldsOf(stream)
  const declared = declaredBits(fields)
  return (event, words, at) => {
    let end = 0
    let valued = 0
    for (let index = 0; index < fields.length; index++) {
      const field = fields[index]!
      const value = event[field.name]
      if (value === null || value === undefined) continue
      end =
        typeof value === 'string' ? putText(hash, field.tag, value, end) : putNumber(hash, field, Number(value), end)
      valued ^= field.tag
    }
    setContent(hash, end, declared, valued, words, at)
  }
}

/** The same of the event in row `row` of `rows`. */
export type WriteContentOfRow = (rows: EventRows, row: number, words: Int32Array, at: number) => void

export function compileContentOfRow(stream: StreamPlan, hash: KeyedHash): WriteContentOfRow {
  const { layout } = stream.codec
  const fields = contentFieldsOf(stream)
  const declared = declaredBits(fields)
  const columns = fields.map(({ name }) => layout.fields.find((field) => field.name === name)!.column)
  const { textCount, numberCount } = layout
  return (rows, row, words, at) => {
    let end = 0
    let valued = 0
    for (let index = 0; index < fields.length; index++) {
      const field = fields[index]!
      const from = end
      if (field.kind === 'text') end = putTextOfRow(hash, field.tag, rows, row * textCount + columns[index]!, end)
      else {
        const value = rows.numbers[row * numberCount + columns[index]!]!
        if (!Number.isNaN(value)) end = putNumber(hash, field, value, end)
      }
      if (end > from) valued ^= field.tag
    }
    setContent(hash, end, declared, valued, words, at)
  }
}

function contentFieldsOf(stream: Pick<StreamPlan, 'fields' | 'idField'>): ContentField[] {
  return (
    [...stream.fields]
      // The id is what is repeated; as a number and as text it is the same.
      .filter(({ name }) => name !== stream.idField)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(({ name, kind, decimals }): ContentField => {
        return { name, tag: tagOf(name), kind, scale: decimals === undefined ? null : 10 ** decimals }
      })
  )
}

function declaredBits(fields: readonly ContentField[]): number {
  return tagOf(JSON.stringify(fields.map(({ name, kind, scale }) => [name, kind, scale]))) & setMask
}

/** The message is of whole words, in the order of the names: each function writes a field at `at` and returns where it ends. */
function putNumber(hash: KeyedHash, { tag, kind, scale }: ContentField, value: number, at: number): number {
  requireRoom(hash, at + 12)
  hash.words[at >> 2] = tag
  numberCell[0] = (kind === 'number' && scale !== null ? Math.round(value * scale) : value) + 0
  hash.words[(at >> 2) + 1] = numberWords[0]!
  hash.words[(at >> 2) + 2] = numberWords[1]!
  return at + 12
}

function putText(hash: KeyedHash, tag: number, text: string, at: number): number {
  requireRoom(hash, at + 12)
  hash.words[at >> 2] = tag
  return endText(hash, at, writeText(hash, at + 8, text))
}

/** Nothing for a missing one. */
function putTextOfRow(hash: KeyedHash, tag: number, rows: EventRows, column: number, at: number): number {
  const start = rows.textStarts[column]!
  if (start === missingText) return at
  if (start < 0) return putText(hash, tag, textAt(rows, column)!, at)
  const length = rows.textEnds[column]! - start
  requireRoom(hash, at + 12 + length)
  hash.words[at >> 2] = tag
  const { bytes } = hash
  for (let index = 0; index < length; index++) bytes[at + 8 + index] = rows.bytes[start + index]!
  return endText(hash, at, at + 8 + length)
}

function endText(hash: KeyedHash, at: number, end: number): number {
  hash.words[(at >> 2) + 1] = end - at - 8
  const padded = (end + 3) & ~3
  for (let index = end; index < padded; index++) hash.bytes[index] = 0
  return padded
}

function setContent(
  hash: KeyedHash,
  end: number,
  declared: number,
  valued: number,
  words: Int32Array,
  at: number,
): void {
  hashMessage(hash, end)
  words[at] = hash.low
  words[at + 1] = declared | ((valued & setMask) << setBits)
}

/** Whether two events of one id surely differ. Where their fields are not the same ones, that is not known. */
export function isOtherContent(words: Int32Array, at: number, otherWords: Int32Array, otherAt: number): boolean {
  if (words[at] === otherWords[otherAt]) return false
  const differing = words[at + 1]! ^ otherWords[otherAt + 1]!
  return (differing & setMask) === 0 || (differing & (setMask << setBits)) === 0
}

/** 32 bits of a name, the same in every version. */
function tagOf(name: string): number {
  return createHash('sha256').update(name).digest().readInt32LE()
}
