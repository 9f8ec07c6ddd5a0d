/**
 * Avro single-object encoding: two marker bytes, the CRC-64-AVRO fingerprint of the writer's schema, then the record. One codec holds
 * every record type that may lie in a topic and tells them apart by fingerprint.
 */
import assert from 'node:assert/strict'
import avro from 'avsc'
import { PipelineError } from './errors.ts'
import { exactLongFor } from './exact-long.ts'

export type AvroSchema = Readonly<Record<string, unknown>>

const headerBytes = 10
const fingerprintSeed = 0xc15d213aa4d7a795n

const fingerprintTable = Array.from({ length: 256 }, (_, byte) => {
  let value = BigInt(byte)
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ fingerprintSeed : value >> 1n
  return value
})

/** CRC-64-AVRO (Rabin) of a text, as the Avro specification defines it over a schema's canonical form. */
export function avroFingerprint(canonicalForm: string): bigint {
  let value = fingerprintSeed
  for (const byte of Buffer.from(canonicalForm, 'utf8')) {
    value = (value >> 8n) ^ fingerprintTable[Number((value ^ BigInt(byte)) & 0xffn)]!
  }
  return value
}

interface RecordType {
  readonly name: string
  readonly type: avro.Type
  /** Marker and fingerprint as they stand before each record. */
  readonly header: Buffer
}

export interface SingleObjectCodec {
  encode(name: string, record: object): Buffer
  /** Null: the bytes are no single object of a known schema. Throws on truncated or surplus bytes. */
  decode(bytes: Buffer): { name: string; record: Readonly<Record<string, unknown>> } | null
}

/** By the two marker bytes, which begin no text in UTF-8. */
export function isSingleObject(bytes: Buffer): boolean {
  return bytes[0] === 0xc3 && bytes[1] === 0x01
}

export function createSingleObjectCodec(schemas: ReadonlyMap<string, AvroSchema>): SingleObjectCodec {
  const byName = new Map<string, RecordType>()
  const byFingerprint = new Map<number, RecordType>()
  for (const [name, schema] of schemas) {
    const type = avro.Type.forSchema(schema as unknown as avro.Schema, { typeHook: exactLongFor })
    const header = Buffer.alloc(headerBytes)
    header.writeUInt16BE(0xc301, 0)
    header.writeBigUInt64LE(avroFingerprint(JSON.stringify(type.schema())), 2)
    const recordType = { name, type, header }
    byName.set(name, recordType)
    const low = header.readUInt32LE(2)
    assert(!byFingerprint.has(low), `schemas ${name} and ${byFingerprint.get(low)?.name} have the same fingerprint`)
    byFingerprint.set(low, recordType)
  }
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

  function decode(bytes: Buffer) {
    if (!isSingleObject(bytes)) return null
    if (bytes.length < headerBytes) throw new Error('the record is cut short')
    const found = byFingerprint.get(bytes.readUInt32LE(2))
    if (!found || bytes.readUInt32LE(6) !== found.header.readUInt32LE(6)) return null
    const from = found.type as unknown as {
      decode(bytes: Buffer, position: number): { value: Readonly<Record<string, unknown>> | undefined; offset: number }
    }
    const { value, offset } = from.decode(bytes, headerBytes)
    if (value === undefined || offset < 0) throw new Error('the record is cut short')
    if (offset !== bytes.length) throw new Error(`${bytes.length - offset} bytes are left over after the record`)
    return { name: found.name, record: value }
  }

  return { encode, decode }
}

/** As `decode`, for topics that only Millrace writes: anything unreadable there is a failure of the world, not a bad event. */
export function decodeOwn(codec: SingleObjectCodec, bytes: Buffer, what: string) {
  try {
    const decoded = codec.decode(bytes)
    if (decoded) return decoded
  } catch (cause) {
    const message = `A ${what} record could not be decoded: ${(cause as Error).message}.`
    throw new PipelineError('record_unreadable', message, { cause })
  }
  const start = bytes.subarray(0, headerBytes).toString('hex')
  throw new PipelineError(
    'record_unreadable',
    `A ${what} record was written with a schema that this definition does not have (it begins with ${start}).`,
  )
}
