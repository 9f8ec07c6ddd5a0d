/**
 * Record batches (format v2, uncompressed) written in one pass into a growing buffer: records of one partition come
 * in, the bytes of a Produce request's record set go out. Called by `produce-request.ts`.
 *
 * Layout of the 61-byte header: base offset 8, length 4, leader epoch 4, magic 1, CRC-32C 4 (over all that follows
 * it), attributes 2, last offset delta 4, first and last timestamp 8 + 8, producer id 8, producer epoch 2, base
 * sequence 4, record count 4.
 */
import type { LogRecord, OutRecord } from '../broker.ts'
import { type ByteWriter, writeInt64 } from './byte-writer.ts'
import { crc32c } from './crc32c.ts'

export interface BatchIdentity {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly transactional: boolean
  /** Time of all its records, ms since 1970; the broker's own clock replaces it in LogAppendTime topics. */
  readonly timestampMs: number
}

const headerBytes = 61
const attributesAt = 21
const noHeaders: LogRecord['headers'] = {}

/** Upper bound of what one record takes in a batch, bytes. */
export function recordBytesMax(record: OutRecord): number {
  let size = 24 + (record.key?.length ?? 0) + (record.value?.length ?? 0)
  if (record.headers !== undefined) {
    for (const name of Object.keys(record.headers)) size += 10 + 3 * name.length + record.headers[name]!.length
  }
  return size
}

/** Bytes of the header that precedes a batch's records. */
export const batchOverheadBytes = headerBytes

export function writeRecordBatch(writer: ByteWriter, records: readonly OutRecord[], identity: BatchIdentity): void {
  const start = writer.length()
  writer.reserve(headerBytes)
  let at = start + headerBytes
  writer.moveTo(at)
  for (let index = 0; index < records.length; index++) {
    const record = records[index]!
    const target = writer.reserve(recordBytesMax(record))
    at = writeRecord(target, at, index, record)
    writer.moveTo(at)
  }
  const target = writer.reserve(0)
  writeInt64(target, 0, start)
  target.writeInt32BE(at - start - 12, start + 8)
  target.writeInt32BE(-1, start + 12)
  target.writeInt8(2, start + 16)
  target.writeInt16BE(identity.transactional ? 0x10 : 0, start + attributesAt)
  target.writeInt32BE(records.length - 1, start + 23)
  writeInt64(target, identity.timestampMs, start + 27)
  writeInt64(target, identity.timestampMs, start + 35)
  writeInt64(target, identity.producerId, start + 43)
  target.writeInt16BE(identity.producerEpoch, start + 51)
  target.writeInt32BE(identity.baseSequence, start + 53)
  target.writeInt32BE(records.length, start + 57)
  target.writeUInt32BE(crc32c(target, start + attributesAt, at), start + 17)
}

/**
 * Length, attributes, timestamp delta (always 0), offset delta, key, value, headers; returns where the next record
 * starts.
 */
function writeRecord(target: Buffer, start: number, offsetDelta: number, record: OutRecord): number {
  const { key, value } = record
  const headers = record.headers ?? noHeaders
  const names = record.headers === undefined ? none : Object.keys(headers)
  let size = 2 + varintBytes(offsetDelta) + fieldBytes(key) + fieldBytes(value) + varintBytes(names.length)
  for (const name of names) {
    const nameBytes = Buffer.byteLength(name)
    size += varintBytes(nameBytes) + nameBytes + fieldBytes(headers[name]!)
  }

  let at = writeVarint(target, start, size)
  target[at++] = 0
  target[at++] = 0
  at = writeVarint(target, at, offsetDelta)
  at = writeField(target, at, key)
  at = writeField(target, at, value)
  at = writeVarint(target, at, names.length)
  for (const name of names) {
    at = writeVarint(target, at, Buffer.byteLength(name))
    at += target.write(name, at)
    at = writeField(target, at, headers[name]!)
  }
  return at
}

const none: readonly string[] = []

function fieldBytes(field: Buffer | null): number {
  return field === null ? 1 : varintBytes(field.length) + field.length
}

function writeField(target: Buffer, at: number, field: Buffer | null): number {
  if (field === null) {
    target[at] = 1 // -1 in zigzag
    return at + 1
  }
  const start = writeVarint(target, at, field.length)
  const length = field.length
  // A call into native code costs more than copying a few bytes here.
  if (length > 24) target.set(field, start)
  else for (let index = 0; index < length; index++) target[start + index] = field[index]!
  return start + length
}

/** Lengths and deltas only: not negative, below 2^30. */
function varintBytes(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x100000 ? 3 : value < 0x8000000 ? 4 : 5
}

function writeVarint(target: Buffer, start: number, value: number): number {
  let at = start
  let rest = value << 1
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}
