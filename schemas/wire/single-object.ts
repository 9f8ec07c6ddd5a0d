/**
 * Records in Avro's single-object encoding. One codec holds every record type of a topic and distinguishes them by fingerprint;
 * what was written with another schema is resolved to the codec's own.
 */
import assert from 'node:assert/strict'
import type avro from 'avsc'
import { PipelineError } from '../kernel/errors.ts'
import { fingerprintBytes, singleObjectHeaderBytes as headerBytes, isSingleObject } from './avro-fingerprint.ts'
import { type FormCheck, formCheckOf } from './avro-form.ts'
import { type AvroSchema, avroType, resolverOf } from './avro-types.ts'
import { createWriterSchemas, type TopicKind, type WriterSchemas } from './writer-schemas.ts'

/** A record type with what reads it from one writer's schema. */
interface Reading {
  readonly name: string
  readonly type: avro.Type
  /** Undefined: it was written with this very schema. */
  readonly resolver: unknown
  /** Of what avsc alone might read forever; null where it cannot. */
  readonly check: FormCheck['check'] | null
  /** Upper half of the writer's fingerprint. */
  readonly high: number
}

interface Writing {
  readonly type: avro.Type
  /** Marker and fingerprint as they precede each record. */
  readonly header: Buffer
}

export interface Decoded {
  readonly name: string
  readonly record: Readonly<Record<string, unknown>>
}

export interface SingleObjectCodec {
  encode(name: string, record: object): Buffer
  /** Marker and fingerprint that precede each record of the type. */
  header(name: string): Buffer
  /**
   * Null: the bytes are no single object of a known schema. Throws on truncated, surplus and malformed bytes, and `SchemaIncompatible`
   * where the writer's schema is known and its records cannot be read. Takes time and memory linear in the bytes, whatever they are.
   */
  decode(bytes: Buffer): Decoded | null
  /** The record of another encoding that begins at `from`. Throws as `decode` does. */
  decodeAs(writer: avro.Type, bytes: Buffer, from: number): Decoded
}

export interface SingleObjectOptions {
  /** Where schemas of other writers are found. */
  readonly writers?: WriterSchemas
  /** What the record types are declared for; internal topics by default. */
  readonly topics?: TopicKind
  /** Which of the record types a writer's schema is read as, and with which type; by default by its name. Null: as none of them. */
  readonly readerFor?: (writer: avro.Type) => { readonly name: string; readonly type: avro.Type } | null
}

/** The writer's schema is known, but what it writes cannot be read as this definition's records. */
export class SchemaIncompatible extends Error {
  /** Fingerprint of the schema that it was to be read as. */
  readonly reader: string | null

  constructor(reason: string, reader: string | null) {
    super(reason)
    this.name = 'SchemaIncompatible'
    this.reader = reader
  }
}

export function createSingleObjectCodec(
  schemas: ReadonlyMap<string, AvroSchema>,
  options: SingleObjectOptions = {},
): SingleObjectCodec {
  const { writers = createWriterSchemas(), topics = 'internal' } = options
  const byName = new Map<string, Writing>()
  /** By the lower half of the fingerprint: own schemas, and learnt ones once a record came that was written with one. */
  const readings = new Map<number, Reading>()
  for (const [name, schema] of schemas) {
    const type = avroType(schema)
    const header = Buffer.concat([Buffer.from([0xc3, 0x01]), fingerprintBytes(type)])
    byName.set(name, { type, header })
    const low = header.readUInt32LE(2)
    assert(!readings.has(low), `schemas ${name} and ${readings.get(low)?.name} have the same fingerprint`)
    const { check, hasBlocks } = formCheckOf(type)
    const high = header.readUInt32LE(6)
    readings.set(low, { name, type, resolver: undefined, check: hasBlocks ? check : null, high })
    writers.declare(schema, type, topics)
  }
  const readerFor = options.readerFor ?? sameName
  const resolved = new Map<avro.Type, Reading | SchemaIncompatible>()
  let scratch = Buffer.allocUnsafe(4_096)

  function encode(name: string, record: object): Buffer {
    const { type, header } = byName.get(name)!
    // avsc's typings leave out `encode`, which writes in place: a negative answer says how many bytes were lacking.
    const into = type as unknown as { encode(value: object, into: Buffer, position: number): number }
    let end = into.encode(record, scratch, headerBytes)
    if (end < 0) {
      scratch = Buffer.allocUnsafe(2 * (scratch.length - end))
      end = into.encode(record, scratch, headerBytes)
    }
    header.copy(scratch, 0)
    return Buffer.from(scratch.subarray(0, end))
  }

  function decode(bytes: Buffer): Decoded | null {
    if (!isSingleObject(bytes)) return null
    if (bytes.length < headerBytes) throw new Error('the record is cut short')
    const low = bytes.readUInt32LE(2)
    const high = bytes.readUInt32LE(6)
    const found = readings.get(low)
    if (found?.high === high) return read(found, bytes, headerBytes)
    const writer = writers.find(low, high)
    if (writer === undefined) return null
    const reading = readingOf(writer, high)
    if (found === undefined) readings.set(low, reading)
    return read(reading, bytes, headerBytes)
  }

  function decodeAs(writer: avro.Type, bytes: Buffer, from: number): Decoded {
    return read(readingOf(writer, 0), bytes, from)
  }

  /** Resolution takes a while, and so does finding out that there is none: once a schema. */
  function readingOf(writer: avro.Type, high: number): Reading {
    let reading = resolved.get(writer)
    if (reading === undefined) {
      reading = resolve(writer, high)
      resolved.set(writer, reading)
    }
    if (reading instanceof SchemaIncompatible) throw reading
    return reading
  }

  function resolve(writer: avro.Type, high: number): Reading | SchemaIncompatible {
    const reader = readerFor(writer)
    if (reader === null) {
      return new SchemaIncompatible(`${writer.name ?? writer.typeName} is none of its record types`, null)
    }
    try {
      return { ...reader, resolver: resolverOf(reader.type, writer), check: formCheckOf(writer).check, high }
    } catch (error) {
      return new SchemaIncompatible((error as Error).message, fingerprintBytes(reader.type).toString('hex'))
    }
  }

  function sameName(writer: avro.Type) {
    for (const [name, { type }] of byName) if (type.name === writer.name) return { name, type }
    return null
  }

  return { encode, header: (name) => byName.get(name)!.header, decode, decodeAs }
}

function read({ name, type, resolver, check }: Reading, bytes: Buffer, from: number): Decoded {
  check?.(bytes, from)
  const reader = type as unknown as {
    decode(
      bytes: Buffer,
      position: number,
      resolver: unknown,
    ): { value: Readonly<Record<string, unknown>> | undefined; offset: number }
  }
  const { value, offset } = reader.decode(bytes, from, resolver)
  if (value === undefined || offset < 0) throw new Error('the record is cut short')
  if (offset !== bytes.length) throw new Error(`${bytes.length - offset} bytes are left over after the record`)
  return { name, record: value }
}

/** As `decode`, for topics that only Millrace writes: anything unreadable there is a failure of the world, not a bad event. */
export function decodeOwn(codec: SingleObjectCodec, bytes: Buffer, what: string): Decoded {
  try {
    const decoded = codec.decode(bytes)
    if (decoded) return decoded
  } catch (cause) {
    const reason = (cause as Error).message
    const message =
      cause instanceof SchemaIncompatible
        ? `A ${what} record was written with the schema ${fingerprintIn(bytes)}, which this definition cannot read` +
          `${cause.reader === null ? '' : ` as its own ${cause.reader}`}: ${reason}.`
        : `A ${what} record could not be decoded: ${reason}.`
    throw new PipelineError('record_unreadable', message, { cause })
  }
  throw new PipelineError(
    'record_unreadable',
    isSingleObject(bytes)
      ? `A ${what} record was written with the schema ${fingerprintIn(bytes)}, which neither this definition nor its topic of schemas has.`
      : `A ${what} record is none: it begins with ${bytes.subarray(0, headerBytes).toString('hex')}.`,
  )
}

/** In hexadecimal, as it lies in the record. */
export function fingerprintIn(bytes: Buffer): string {
  return bytes.subarray(2, headerBytes).toString('hex')
}
