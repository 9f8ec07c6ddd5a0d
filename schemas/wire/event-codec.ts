/**
 * Raw events: bytes or parsed values in, validated events or a list of problems out. Called by the batch loop for every raw record and
 * by producers for every event they send.
 */

import type avro from 'avsc'
import type { FieldPlan, FieldValue, Problem, RejectCode } from '../kernel/event.ts'
import { instantMax, unitOf } from '../kernel/instant.ts'
import { isRecord } from '../kernel/report.ts'
import { quoteValue, showCell, showValue } from '../kernel/show-value.ts'
import { confluentHeaderBytes, confluentId, isConfluent, isSingleObject } from './avro-fingerprint.ts'
import { type AvroSchema, avroType } from './avro-types.ts'
import type { EventCodec } from './codec.ts'
import { compileRowDecoder, compileRowReader, rowLayoutOf } from './event-rows.ts'
import { instantsOf, lengthMaxDefault } from './field-limits.ts'
import { jsonFault } from './json-fault.ts'
import { repeatedMembers } from './repeated-members.ts'
import {
  createSingleObjectCodec,
  type Decoded,
  fingerprintIn,
  SchemaIncompatible,
  type SingleObjectCodec,
} from './single-object.ts'
import { valueHint } from './value-hint.ts'
import { whereElse } from './where-else.ts'
import { createWriterSchemas, type WriterSchemas } from './writer-schemas.ts'
import { writtenNumbers } from './written-numbers.ts'

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/

const nestingTypes = new Set(['record', 'error', 'array', 'map'])

type Checked = { ok: true; value: FieldValue } | { ok: false; code: RejectCode; expected: string }

const avroTypes = {
  text: 'string',
  number: 'double',
  integer: 'long',
  timestamp: { type: 'long', logicalType: 'timestamp-millis' },
  flag: 'boolean',
} as const

export function eventSchema(name: string, namespace: string, fields: readonly FieldPlan[]): AvroSchema {
  return {
    type: 'record',
    name,
    namespace,
    fields: fields.map((field) =>
      field.optional
        ? { name: field.name, type: ['null', avroTypes[field.kind]], default: null }
        : { name: field.name, type: avroTypes[field.kind] },
    ),
  }
}

/**
 * Reader's schema for events of other writers. The topic determines the record type, so any name is accepted, and a field that the writer
 * lacks is missing: the check decides, and reports its path, whether that is allowed.
 */
function readerSchema(name: string, fields: readonly FieldPlan[]): AvroSchema {
  const optional = (field: FieldPlan) => ({ name: field.name, type: ['null', avroTypes[field.kind]], default: null })
  return { type: 'record', name, fields: fields.map(optional) }
}

type Decode = ReturnType<EventCodec['decode']>

/** What decoding events of one stream works from. */
interface EventReading {
  readonly name: string
  readonly fields: readonly FieldPlan[]
  readonly writers: WriterSchemas
  readonly singleObjects: SingleObjectCodec
  readonly check: EventCodec['check']
}

export function createEventCodec(
  name: string,
  namespace: string,
  fields: readonly FieldPlan[],
  writers: WriterSchemas = createWriterSchemas(),
): EventCodec {
  const schemas = new Map([[name, eventSchema(name, namespace, fields)]])
  const readerFor = (writer: avro.Type) => {
    if (isOfInternalTopic(writer, `${namespace}.`, name, writers)) return null
    return { name, type: avroType(readerSchema(writer.name ?? name, fields)) }
  }
  const singleObjects = createSingleObjectCodec(schemas, { writers, topics: 'raw', readerFor })
  const check = createEventCheck(fields)
  const reading: EventReading = { name, fields, writers, singleObjects, check }
  const layout = rowLayoutOf(fields)
  const readRow = compileRowReader(fields, layout)
  return {
    schemas,
    layout,
    readRow,
    decodeRow: compileRowDecoder(readRow, singleObjects.header(name)),
    encode: (event) => singleObjects.encode(name, event),
    decode: (bytes) => decodeEvent(reading, bytes),
    check,
  }
}

/** By its name in this definition, and in others by its shape: no raw event of Millrace's holds records, arrays or maps. */
function isOfInternalTopic(writer: avro.Type, prefix: string, name: string, writers: WriterSchemas): boolean {
  if (!writer.name?.startsWith(prefix) || writer.name === `${prefix}${name}`) return false
  return writers.isInternal(writer.name) || !isFlat(writer)
}

/** Choices that depend on the declarations are taken here, once. */
function createEventCheck(fields: readonly FieldPlan[]): EventCodec['check'] {
  const fieldChecks = fields.map((field) => ({ field, check: checkOf(field) }))
  return (values, options = {}) => {
    if (!isRecord(values)) {
      const expected = `an object with the fields of the event${objectHint(values)}`
      return rejected([{ path: '', code: 'type', expected, received: quoteValue(values) }])
    }
    const event: Record<string, FieldValue> = {}
    const problems: Problem[] = []
    for (const { field, check } of fieldChecks) {
      const given = values[field.name]
      const isCell = options.fromText === true && typeof given === 'string'
      const value = isCell ? valueFromText(field, given) : given
      if (value === undefined || value === null) {
        if (!field.optional) problems.push(missing(values, field, value))
        event[field.name] = null
        continue
      }
      const checked = check(value)
      if (checked.ok) event[field.name] = checked.value
      else {
        const received = isCell ? showCell(given) : quoteValue(value)
        problems.push({ path: `/${field.name}`, code: checked.code, expected: checked.expected, received })
      }
    }
    return problems.length === 0 ? { ok: true, event } : rejected(problems)
  }
}

function objectHint(value: unknown): string {
  if (Array.isArray(value)) return '; one event at a time'
  return typeof value === 'string' && value.startsWith('{') ? '; this is JSON in quotes, encoded twice' : ''
}

function missing(values: Readonly<Record<string, unknown>>, field: FieldPlan, value: null | undefined): Problem {
  const elsewhere = field.name in values ? null : whereElse(values, field.name)
  const nothing = elsewhere === null ? 'nothing' : `nothing, but ${elsewhere} is there`
  return problem(`/${field.name}`, 'missing', describeField(field), value === null ? 'null' : nothing)
}

function decodeEvent(reading: EventReading, bytes: Buffer | null): Decode {
  if (bytes === null || bytes.length === 0) {
    return rejected([problem('', 'empty', 'an event', bytes === null ? 'a tombstone' : 'no bytes')])
  }
  if (isSingleObject(bytes)) return decodeSingleObject(reading, bytes)
  return isConfluent(bytes) ? decodeConfluent(reading, bytes) : decodeJson(reading, bytes)
}

function decodeSingleObject({ name, singleObjects, check }: EventReading, bytes: Buffer): Decode {
  let found: Decoded | null
  try {
    found = singleObjects.decode(bytes)
  } catch (error) {
    return unreadable(name, `schema fingerprint ${fingerprintIn(bytes)}`, error)
  }
  if (found !== null) return check(found.record)
  const written = `schema fingerprint ${fingerprintIn(bytes)}`
  return rejected([problem('', 'schema_unknown', `Avro with a schema of ${name}`, written)])
}

function decodeConfluent({ name, writers, singleObjects, check }: EventReading, bytes: Buffer): Decode {
  const id = confluentId(bytes)
  const writer = writers.findId(id)
  if (writer === undefined) {
    const expected = writers.hasRegistry
      ? `an id of the schema registry for ${name}`
      : 'SCHEMA_REGISTRY_URL to be set, since the record is in the Confluent wire format'
    return rejected([problem('', 'schema_unknown', expected, `schema id ${id}`)])
  }
  if ('notAvro' in writer) {
    return rejected([problem('', 'schema_incompatible', `an Avro schema for ${name}`, writer.notAvro)])
  }
  let found: Decoded
  try {
    found = singleObjects.decodeAs(writer, bytes, confluentHeaderBytes)
  } catch (error) {
    return unreadable(name, `schema id ${id}`, error)
  }
  return check(found.record)
}

/** `written`: what the record was written with. */
function unreadable(name: string, written: string, error: unknown): Decode {
  const reason = (error as Error).message
  if (!(error instanceof SchemaIncompatible))
    return rejected([problem('', 'not_avro', `one Avro record of ${name}`, reason)])
  const expected = `a schema whose records can be read as ${name}`
  return rejected([problem('', 'schema_incompatible', expected, `${written}: ${reason}`)])
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function decodeJson({ fields, check }: EventReading, bytes: Buffer): Decode {
  let values: unknown
  try {
    values = JSON.parse(utf8.decode(bytes))
  } catch (error) {
    const expected = 'a JSON object in UTF-8, an Avro single object or the Confluent wire format'
    const { hint, received } = jsonFault(bytes, error)
    return rejected([problem('', 'not_json', `${expected}${hint}`, received)])
  }
  const checked = check(values)
  const repeated = isRecord(values) ? repeatedFields(fields, bytes, values) : []
  if (checked.ok) return repeated.length === 0 ? checked : rejected(repeated)
  return rejected([...repeated, ...asWritten(checked.problems, bytes, values)])
}

/** With the numbers that came, which the parser may have rounded. */
function asWritten(problems: readonly Problem[], bytes: Buffer, values: unknown): readonly Problem[] {
  if (!isRecord(values)) return problems
  const numbers = writtenNumbers(bytes)
  return problems.map((one) => {
    const name = one.path.slice(1)
    const number = typeof values[name] === 'number' ? numbers.get(name) : undefined
    return number === undefined ? one : { ...one, received: showValue(number) }
  })
}

function repeatedFields(fields: readonly FieldPlan[], bytes: Buffer, values: object): Problem[] {
  const repeated = repeatedMembers(bytes, values)
  if (repeated.length === 0) return []
  return fields
    .filter((field) => repeated.includes(field.name))
    .map((field) => problem(`/${field.name}`, 'repeated', 'one value', 'several'))
}

/** Every field is one value. */
function isFlat(writer: avro.Type): boolean {
  const { fields = [] } = writer as Partial<avro.types.RecordType>
  const typesOf = (type: avro.Type) => (type as Partial<avro.types.UnwrappedUnionType>).types ?? [type]
  return fields.flatMap((field) => typesOf(field.type)).every(({ typeName }) => !nestingTypes.has(typeName))
}

function rejected(problems: readonly Problem[]): { ok: false; problems: readonly Problem[] } {
  return { ok: false, problems }
}

export function problem(path: string, code: RejectCode, expected: string, received: unknown): Problem {
  return { path, code, expected, received: showValue(received) }
}

export function describeField(field: FieldPlan): string {
  const { kind } = field
  if (kind === 'text') return `text of 1 to ${field.lengthMax ?? lengthMaxDefault} characters in valid UTF-8`
  if (kind === 'flag') return 'true or false'
  if (kind === 'timestamp') return `an RFC 3339 instant with zone or whole milliseconds since 1970, ${spanOf(field)}`
  if (kind === 'integer') return `a whole number within 2^53${rangeOf(field)}`
  return `a finite number${rangeOf(field)}${field.decimals === undefined ? '' : ` with at most ${field.decimals} decimals`}`
}

function spanOf(field: FieldPlan): string {
  const { from, until } = instantsOf(field)
  if (from === 0 && until === instantMax) return 'up to the year 9999'
  return `from ${shortInstant(from)} to ${shortInstant(until)}`
}

/** A day that is whole at this end of a range as a day. */
function shortInstant(ms: number): string {
  return new Date(ms).toISOString().replace(/T(?:00:00:00\.000|23:59:59\.999)Z$/, '')
}

const rangeRemedy = '; `instants` of the stream and `from` and `until` of the field declare another range'

const noValueRemedy = '; null or no field stands for no value'

function unitHint(value: number, from: number, until: number): string {
  const unit = unitOf(value, from, until)
  return unit === null ? '' : `; this ${unit}`
}

function rangeOf({ min, max }: FieldPlan): string {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  if (min !== undefined) return ` >= ${min}`
  return max === undefined ? '' : ` <= ${max}`
}

/** Choices that depend on the declaration are taken here, once. */
function checkOf(field: FieldPlan): (value: unknown) => Checked {
  const expected = describeField(field)
  const fault = (code: RejectCode, closer = ''): Checked => ({ ok: false, code, expected: `${expected}${closer}` })
  const wrongType = (value: unknown) => fault('type', valueHint(field.kind, value))
  const good = (value: FieldValue): Checked => ({ ok: true, value })
  const min = field.min ?? Number.NEGATIVE_INFINITY
  const max = field.max ?? Number.POSITIVE_INFINITY
  switch (field.kind) {
    case 'text': {
      const lengthMax = field.lengthMax ?? lengthMaxDefault
      return (value) => {
        if (typeof value !== 'string') return wrongType(value)
        if (value.length === 0 && field.optional) return fault('length', noValueRemedy)
        if (value.length === 0 || value.length > lengthMax) return fault('length')
        // The replacement character is what a decoder leaves of invalid UTF-8; half a surrogate pair is not text either.
        return value.includes('\ufffd') || !value.isWellFormed() ? wrongType(value) : good(value)
      }
    }
    case 'flag':
      return (value) => (typeof value === 'boolean' ? good(value) : wrongType(value))
    case 'timestamp': {
      const { from, until } = instantsOf(field)
      const isDeclared = field.min !== undefined || field.max !== undefined
      const unit = (value: unknown) => (isDeclared && typeof value === 'number' ? unitHint(value, from, until) : '')
      return (value) => {
        const ms = typeof value === 'string' ? parseInstant(value) : value
        if (typeof ms !== 'number') return wrongType(value)
        if (!Number.isInteger(ms)) return fault('type', unit(value))
        if (ms >= from && ms <= until) return good(positiveZero(ms))
        return fault('range', unit(value) || (isDeclared ? rangeRemedy : ''))
      }
    }
    case 'integer':
      return (value) => {
        // JSON's parser has rounded a whole number beyond 2^53, but not to one that is within: it cannot pass as another.
        if (!Number.isSafeInteger(value)) return wrongType(value)
        return (value as number) >= min && (value as number) <= max
          ? good(positiveZero(value as number))
          : fault('range')
      }
    case 'number': {
      const scale = field.decimals === undefined ? null : 10 ** field.decimals
      const exact = scale === null ? '' : `, within ±${Number.MAX_SAFE_INTEGER / scale}`
      return (value) => {
        if (typeof value !== 'number' || !Number.isFinite(value)) return wrongType(value)
        if (value < min || value > max) return fault('range')
        if (scale !== null) {
          const scaled = Math.round(value * scale)
          if (!Number.isSafeInteger(scaled)) return fault('range', exact)
          if (scaled / scale !== value) return fault('decimals')
        }
        return good(positiveZero(value))
      }
    }
  }
}

/** Minus zero equals zero but has other bits, and the promise is about bits. */
function positiveZero(value: number): number {
  return value === 0 ? 0 : value
}

/**
 * Milliseconds of an RFC 3339 text, finer digits cut off; null where it is none. `Date` alone would take text without a zone as local
 * time, 30 February as 2 March and hour 24 as the next day.
 */
export function parseInstant(text: string): number | null {
  if (!rfc3339.test(text) || text.slice(11, 13) === '24' || Number(text.slice(8, 10)) > daysOfMonth(text)) return null
  const ms = Date.parse(text.toUpperCase().replace(' ', 'T'))
  return Number.isNaN(ms) ? null : ms
}

function daysOfMonth(text: string): number {
  const [year, month] = [Number(text.slice(0, 4)), Number(text.slice(5, 7))]
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** Also what spreadsheets and other languages write, such as `+5`, `.5` and `007`, but not `0x10` or `Infinity`. */
const decimalNumber = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*$/

/** A cell of a text file as the JSON value that it denotes; what denotes none stays text and fails the check. */
export function valueFromText(field: FieldPlan, text: string): unknown {
  if (text === '' && field.kind !== 'text') return undefined
  if (text === '' && field.optional) return undefined
  switch (field.kind) {
    case 'number':
    case 'integer':
      return decimalNumber.test(text) ? Number(text) : text
    case 'timestamp':
      return /^-?\d+$/.test(text) ? Number(text) : text
    case 'flag':
      return text === 'true' || text === '1' ? true : text === 'false' || text === '0' ? false : text
    case 'text':
      return text
  }
}
