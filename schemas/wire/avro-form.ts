/**
 * The bytes of a record and its writer's schema come in, an error goes out where they do not fit each other; called by
 * `single-object.ts` before avsc reads. avsc trusts counts, sizes and lengths: a block of −2 bytes makes it read the same
 * bytes forever, one of 2^40 nulls takes all memory. What passes here avsc reads in time and memory linear in the bytes.
 */
import type avro from 'avsc'
import { readLong } from './exact-long.ts'

export interface FormCheck {
  /** Throws what is wrong with the record that begins at `from`. Bytes that are left over after it are the caller's to find. */
  check(bytes: Buffer, from: number): void
  /** There are arrays or maps in the record: without them avsc never reads longer than there are bytes. */
  readonly hasBlocks: boolean
}

/** Records in one another: far from where the call stack ends. */
const depthMax = 1_000
/** Bytes of a number of 64 bits in groups of seven. */
const numberBytesMax = 10
/** Values that take no bytes, such as null: so many in one type, and so many items of such a type in one record. */
const emptyValuesMax = 1_000

interface Cursor {
  readonly buf: Buffer
  pos: number
  /** Records that the position is in. */
  depth: number
  /** Items of no bytes that were passed. */
  emptyItems: number
}

interface Form {
  /** Bytes of every value; null where they depend on the value. */
  readonly width: number | null
  /** Values in one of fixed width, with itself. */
  readonly values: number
  readonly hasBlocks: boolean
  /** Moves behind the value. */
  pass(cursor: Cursor): void
}

/** The parts of avsc's types, by which of them they have. */
interface Parts {
  readonly typeName: string
  readonly size: number
  readonly types: readonly avro.Type[]
  readonly itemsType: avro.Type
  readonly valuesType: avro.Type
  readonly fields: readonly { readonly type: avro.Type }[]
}

/** Throws where no record of the schema can be checked. */
export function formCheckOf(type: avro.Type): FormCheck {
  const { hasBlocks, pass } = formOf(type, new Map())
  return {
    check: (bytes, from) => pass({ buf: bytes, pos: from, depth: 0, emptyItems: 0 }),
    hasBlocks,
  }
}

/** `known`: a record may hold itself. */
function formOf(type: avro.Type, known: Map<avro.Type, Form>): Form {
  const { typeName, size, types, itemsType, valuesType, fields } = type as unknown as Parts
  switch (typeName) {
    case 'null':
      return fixed(0)
    case 'boolean':
      return fixed(1)
    case 'float':
      return fixed(4)
    case 'double':
      return fixed(8)
    case 'fixed':
      return fixed(size)
    case 'int':
    case 'long':
    case 'enum':
      return { width: null, values: 1, hasBlocks: false, pass: passNumber }
    case 'string':
    case 'bytes':
      return { width: null, values: 1, hasBlocks: false, pass: passText }
    case 'array':
      return blocks('an array', formOf(itemsType, known))
    case 'map':
      return blocks('a map', entry(formOf(valuesType, known)))
    case 'union:wrapped':
    case 'union:unwrapped':
      return union(types.map((branch) => formOf(branch, known)))
    case 'record':
    case 'error':
      return known.get(type) ?? record(type, fields, known)
    default:
      throw new Error(`values of type ${typeName} are not read`)
  }
}

function fixed(width: number, values = 1): Form {
  return { width, values, hasBlocks: false, pass: (cursor) => advance(cursor, width) }
}

function entry(value: Form): Form {
  return {
    width: null,
    values: 1,
    hasBlocks: value.hasBlocks,
    pass(cursor) {
      passText(cursor)
      value.pass(cursor)
    },
  }
}

function union(branches: readonly Form[]): Form {
  return {
    width: null,
    values: 1,
    hasBlocks: branches.some(({ hasBlocks }) => hasBlocks),
    pass(cursor) {
      const index = numberAt(cursor)
      const branch = branches[index]
      if (branch === undefined) throw new Error(`a union of ${branches.length} types names type ${index}`)
      branch.pass(cursor)
    },
  }
}

function record(type: avro.Type, fields: Parts['fields'], known: Map<avro.Type, Form>): Form {
  let whole: Form | null = null
  known.set(type, { width: null, values: 1, hasBlocks: true, pass: (cursor) => whole!.pass(cursor) })
  whole = sequence(fields.map((field) => formOf(field.type, known)))
  known.set(type, whole)
  return whole
}

function sequence(parts: readonly Form[]): Form {
  const steps: Form[] = []
  for (const part of parts) {
    const last = steps.at(-1)
    if (part.width === null || last === undefined || last.width === null) steps.push(part)
    else steps[steps.length - 1] = fixed(last.width + part.width, last.values + part.values)
  }
  const values = steps.reduce((sum, step) => sum + step.values, 1)
  if (steps.every((step) => step.width !== null)) {
    const width = steps[0]?.width ?? 0
    if (width === 0 && values > emptyValuesMax) {
      throw new Error(`it has a record of more than ${emptyValuesMax} values that take no bytes`)
    }
    return fixed(width, values)
  }
  const passes = steps.map((step) => step.pass)
  return {
    width: null,
    values,
    hasBlocks: steps.some((step) => step.hasBlocks),
    pass(cursor) {
      if (++cursor.depth > depthMax) throw new Error(`more than ${depthMax} records lie in one another`)
      for (let i = 0; i < passes.length; i++) passes[i]!(cursor)
      cursor.depth--
    },
  }
}

function blocks(what: string, item: Form): Form {
  function pass(cursor: Cursor): void {
    for (let count = numberAt(cursor); count !== 0; count = numberAt(cursor)) {
      const end = count < 0 ? endOfBlock(what, cursor) : null
      const begin = cursor.pos
      passItems(what, item, Math.abs(count), cursor)
      if (end !== null && cursor.pos !== end) {
        throw new Error(`a block of ${what} claims ${end - begin} bytes and has ${cursor.pos - begin}`)
      }
    }
  }
  return { width: null, values: 1, hasBlocks: true, pass }
}

/** A negative count is followed by the bytes of the block, so that readers can jump over it. */
function endOfBlock(what: string, cursor: Cursor): number {
  const size = numberAt(cursor)
  const left = cursor.buf.length - cursor.pos
  if (size < 0 || size > left) throw new Error(`a block of ${what} claims ${size} bytes where ${left} are left`)
  return cursor.pos + size
}

function passItems(what: string, item: Form, count: number, cursor: Cursor): void {
  const left = cursor.buf.length - cursor.pos
  if (item.width === 0) {
    cursor.emptyItems += count
    if (cursor.emptyItems > emptyValuesMax) {
      throw new Error(`a block of ${what} claims ${count} items of no bytes, more than ${emptyValuesMax} in the record`)
    }
    return
  }
  if (count > left) throw new Error(`a block of ${what} claims ${count} items where ${left} bytes are left`)
  if (item.width !== null) advance(cursor, count * item.width)
  else for (let i = 0; i < count; i++) item.pass(cursor)
}

function passNumber(cursor: Cursor): void {
  const { buf, pos } = cursor
  let at = pos
  while (at < buf.length && buf[at]! & 0x80) at++
  if (at - pos >= numberBytesMax) throw new Error('a whole number is beyond 2^53')
  cursor.pos = at
  advance(cursor, 1)
}

function passText(cursor: Cursor): void {
  const length = numberAt(cursor)
  if (length < 0) throw new Error(`text or bytes have the length ${length}`)
  advance(cursor, length)
}

function numberAt(cursor: Cursor): number {
  const byte = cursor.buf[cursor.pos]
  // Nearly all are this short, and every event between stages passes here.
  if (byte !== undefined && byte < 0x80) {
    cursor.pos++
    return (byte >>> 1) ^ -(byte & 1)
  }
  const value = readLong(cursor)
  advance(cursor, 0)
  return value
}

function advance(cursor: Cursor, bytes: number): void {
  cursor.pos += bytes
  if (cursor.pos > cursor.buf.length) throw new Error('the record is cut short')
}
