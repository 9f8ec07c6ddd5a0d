/**
 * Events of one stream as rows of columns: numbers in one typed array, texts as ranges of the bytes that they were read from. Decoded in
 * one pass with all checks of the definition (`event-codec.ts` is the slower way, and says what is wrong); an event by name is a view that
 * makes a text only when somebody asks for it.
 */
import type { EventValues, FieldPlan, FieldValue } from '../kernel/event.ts'
import { singleObjectHeaderBytes } from './avro-fingerprint.ts'
import { readDouble, reading, readLong } from './byte-source.ts'
import { instantsOf, lengthMaxDefault } from './field-limits.ts'

/** Where a field's values lie in the rows. */
export interface RowField {
  readonly name: string
  readonly kind: FieldPlan['kind']
  /** Of `texts` or of `numbers`, by the kind. */
  readonly column: number
}

export interface RowLayout {
  readonly fields: readonly RowField[]
  readonly textCount: number
  readonly numberCount: number
  /** The event in a row, by name. What it is a view of must not change. */
  readonly view: (rows: EventRows, row: number) => EventValues
}

/** Row-major. A number that is missing is NaN; a flag is 0 or 1. */
export interface EventRows {
  readonly layout: RowLayout
  readonly numbers: Float64Array
  readonly bytes: Buffer
  /** Where texts begin in `bytes`, all of them ASCII; −1: missing; −2 − i: the i-th of `strings`. */
  readonly textStarts: Int32Array
  readonly textEnds: Int32Array
  readonly strings: string[]
  /** Where the Avro record of a row begins in `bytes` and ends; a beginning of −1: its values do not lie there in this encoding. */
  readonly bodyStarts: Int32Array
  readonly bodyEnds: Int32Array
}

export const missingText = -1

export function rowLayoutOf(fields: readonly FieldPlan[]): RowLayout {
  let textCount = 0
  let numberCount = 0
  const placed = fields.map(({ name, kind }) => ({
    name,
    kind,
    column: kind === 'text' ? textCount++ : numberCount++,
  }))
  return { fields: placed, textCount, numberCount, view: compileView(placed, textCount, numberCount) }
}

/** `bytes`: what the rows' texts are ranges of. */
export function createRows(layout: RowLayout, capacity: number, bytes: Buffer): EventRows {
  return {
    layout,
    numbers: new Float64Array(capacity * layout.numberCount),
    bytes,
    textStarts: new Int32Array(capacity * layout.textCount),
    textEnds: new Int32Array(capacity * layout.textCount),
    strings: [],
    bodyStarts: new Int32Array(capacity),
    bodyEnds: new Int32Array(capacity),
  }
}

/** Null where it is missing. `at`: row × number of texts + column. */
export function textAt({ bytes, textStarts, textEnds, strings }: EventRows, at: number): string | null {
  const start = textStarts[at]!
  if (start >= 0) return bytes.toString('latin1', start, textEnds[at]!)
  return start === missingText ? null : strings[-2 - start]!
}

/** Whether two texts are the same; where both are ranges of bytes, none is made. `at`, `otherAt`: as of `textAt`. */
export function isSameText(rows: EventRows, at: number, other: EventRows, otherAt: number): boolean {
  const start = rows.textStarts[at]!
  const otherStart = other.textStarts[otherAt]!
  if (start < 0 || otherStart < 0) return textAt(rows, at) === textAt(other, otherAt)
  const length = rows.textEnds[at]! - start
  if (other.textEnds[otherAt]! - otherStart !== length) return false
  for (let i = 0; i < length; i++) if (rows.bytes[start + i] !== other.bytes[otherStart + i]) return false
  return true
}

/** A text in UTF-8. */
export interface TextBytes {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/** Of a text that is not missing. `at`: as of `textAt`. */
export function textBytesAt({ bytes, textStarts, textEnds, strings }: EventRows, at: number): TextBytes {
  const start = textStarts[at]!
  if (start >= 0) return { bytes, start, end: textEnds[at]! }
  const own = Buffer.from(strings[-2 - start]!)
  return { bytes: own, start: 0, end: own.length }
}

/** A validated event into a row. */
export function putEvent(rows: EventRows, row: number, event: EventValues): void {
  const { layout, numbers, textStarts, strings, bodyStarts } = rows
  bodyStarts[row] = -1
  for (const { name, kind, column } of layout.fields) {
    const value = event[name] ?? null
    if (kind !== 'text') {
      numbers[row * layout.numberCount + column] = value === null ? Number.NaN : Number(value)
      continue
    }
    const at = row * layout.textCount + column
    textStarts[at] = value === null ? missingText : -2 - strings.length
    if (value !== null) strings.push(value as string)
  }
}

/** Into a row over other bytes, which have what lies at `at` in these at `at + shift`. */
export function copyRow(from: EventRows, row: number, to: EventRows, toRow: number, shift: number): void {
  const { textCount, numberCount } = from.layout
  to.numbers.set(from.numbers.subarray(row * numberCount, (row + 1) * numberCount), toRow * numberCount)
  for (let column = 0; column < textCount; column++) {
    const start = from.textStarts[row * textCount + column]!
    const at = toRow * textCount + column
    if (start >= 0) {
      to.textStarts[at] = start + shift
      to.textEnds[at] = from.textEnds[row * textCount + column]! + shift
    } else if (start === missingText) to.textStarts[at] = missingText
    else to.textStarts[at] = -1 - to.strings.push(from.strings[-2 - start]!)
  }
  const bodyStart = from.bodyStarts[row]!
  to.bodyStarts[toRow] = bodyStart < 0 ? -1 : bodyStart + shift
  to.bodyEnds[toRow] = from.bodyEnds[row]! + shift
}

/** Own properties of a view that no field can have the name of. */
const rowsOf = Symbol('rows')
const rowOf = Symbol('row')

interface View {
  readonly [rowsOf]: EventRows
  readonly [rowOf]: number
}

/** Every event of a stream is of one hidden class, whose fields are read through its prototype. */
function compileView(fields: readonly RowField[], textCount: number, numberCount: number): RowLayout['view'] {
  const prototype = Object.create(null)
  for (const { name, kind, column } of fields) {
    Object.defineProperty(prototype, name, { enumerable: true, get: getterOf(kind, column, textCount, numberCount) })
  }
  class EventView {
    readonly [rowsOf]: EventRows
    readonly [rowOf]: number
    constructor(rows: EventRows, row: number) {
      this[rowsOf] = rows
      this[rowOf] = row
    }
  }
  Object.setPrototypeOf(EventView.prototype, prototype)
  return (rows, row) => new EventView(rows, row) as unknown as EventValues
}

function getterOf(
  kind: FieldPlan['kind'],
  column: number,
  textCount: number,
  numberCount: number,
): (this: View) => FieldValue {
  if (kind === 'text') {
    return function () {
      return textAt(this[rowsOf], this[rowOf] * textCount + column)
    }
  }
  const isFlag = kind === 'flag'
  return function () {
    const value = this[rowsOf].numbers[this[rowOf] * numberCount + column]!
    if (Number.isNaN(value)) return null
    return isFlag ? value === 1 : value
  }
}

/**
 * The Avro record in [start, end) of `rows.bytes` into a row: true where it is one valid event. False, and the row undefined, where it is
 * not, or takes the slower way to find out: text beyond ASCII.
 */
export type DecodeRow = (rows: EventRows, start: number, end: number, row: number) => boolean

/** As `DecodeRow`, of a record within another: where it ends, −1 for false. */
export type ReadRow = (rows: EventRows, start: number, end: number, row: number) => number

/** What a field is checked by. Kinds are numbers here, since a switch over them is a jump. */
interface Step {
  readonly kind: 0 | 1 | 2 | 3
  readonly optional: boolean
  readonly column: number
  readonly min: number
  readonly max: number
  /** 10^decimals; 0 where the decimals are not declared. */
  readonly scale: number
}

const stepKinds = { text: 0, number: 1, integer: 2, timestamp: 2, flag: 3 } as const

function stepOf(field: FieldPlan, column: number): Step {
  const { from, until } = instantsOf(field)
  const isInstant = field.kind === 'timestamp'
  const isText = field.kind === 'text'
  return {
    kind: stepKinds[field.kind],
    optional: field.optional,
    column,
    min: isInstant ? from : isText ? 1 : (field.min ?? Number.NEGATIVE_INFINITY),
    max: isInstant ? until : isText ? (field.lengthMax ?? lengthMaxDefault) : (field.max ?? Number.POSITIVE_INFINITY),
    scale: field.kind === 'number' && field.decimals !== undefined ? 10 ** field.decimals : 0,
  }
}

/** False once a value was read that is another than its bytes say. */
let isAsWritten = true

export function compileRowReader(fields: readonly FieldPlan[], layout: RowLayout): ReadRow {
  const steps = fields.map((field, i) => stepOf(field, layout.fields[i]!.column))
  const { textCount, numberCount } = layout
  return (rows, start, end, row) => {
    const { bytes, numbers, textStarts, bodyStarts, bodyEnds } = rows
    isAsWritten = true
    const firstText = row * textCount
    const firstNumber = row * numberCount
    reading.at = start
    for (let i = 0; i < steps.length; i++) {
      const step = steps[i]!
      if (step.optional) {
        const branch = reading.at < end ? bytes[reading.at]! : 1
        reading.at++
        if (branch === 0) {
          if (step.kind === 0) textStarts[firstText + step.column] = missingText
          else numbers[firstNumber + step.column] = Number.NaN
          continue
        }
        if (branch !== 2) return -1
      }
      if (step.kind === 0) readText(rows, step, firstText + step.column, end)
      else numbers[firstNumber + step.column] = readNumber(bytes, step, end)
      if (reading.at < 0) return -1
    }
    bodyStarts[row] = isAsWritten ? start : -1
    bodyEnds[row] = reading.at
    return reading.at
  }
}

/** Of single objects with this header, the definition's own, which all but foreign producers send. */
export function compileRowDecoder(readRow: ReadRow, header: Buffer): DecodeRow {
  const [marker, low, high] = [header.readUInt16LE(0), header.readUInt32LE(2), header.readUInt32LE(6)]
  return (rows, start, end, row) => {
    const { bytes } = rows
    if (start < 0 || end - start < singleObjectHeaderBytes || bytes.readUInt16LE(start) !== marker) return false
    if (bytes.readUInt32LE(start + 2) !== low || bytes.readUInt32LE(start + 6) !== high) return false
    return readRow(rows, start + singleObjectHeaderBytes, end, row) === end
  }
}

function readText({ bytes, textStarts, textEnds }: EventRows, step: Step, at: number, end: number): void {
  const length = readLong(bytes, end)
  const start = reading.at
  // In ASCII a byte is a character.
  if (!(length >= 1 && length <= step.max) || start + length > end) {
    reading.at = -1
    return
  }
  const stop = start + length
  let bits = 0
  for (let i = start; i < stop; i++) bits |= bytes[i]!
  textStarts[at] = start
  textEnds[at] = stop
  reading.at = bits < 0x80 ? stop : -1
}

function readNumber(bytes: Buffer, step: Step, end: number): number {
  if (step.kind === 1) return readChecked(bytes, step, end)
  if (step.kind === 2) {
    const value = readLong(bytes, end)
    if (!(value >= step.min && value <= step.max)) reading.at = -1
    return value
  }
  const value = reading.at < end ? bytes[reading.at++]! : 2
  if (value > 1) reading.at = -1
  return value
}

function readChecked(bytes: Buffer, { min, max, scale }: Step, end: number): number {
  const value = readDouble(bytes, end)
  if (!(value >= min && value <= max) || !Number.isFinite(value)) reading.at = -1
  else if (scale > 0) {
    const scaled = Math.round(value * scale)
    if (!Number.isSafeInteger(scaled) || scaled / scale !== value) reading.at = -1
  }
  // Minus zero becomes zero; its inverse tells it apart (and takes the least of numbers for it, which are then encoded again).
  isAsWritten = isAsWritten && 1 / value !== Number.NEGATIVE_INFINITY
  return value + 0
}
