/**
 * The record set of one fetched partition: its bytes and the aborted transactions come in, committed records and the
 * offset to continue from go out. Keys, values and headers are views into the response: copy what is to be kept for
 * long.
 *
 * A batch's producer id decides for all its records whether they belong to an aborted transaction; control batches
 * (commit and abort markers) take offsets but hold no records for us. A batch that was cut off at the end of the
 * response is left for the next fetch.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { LogRecord, TopicPartition } from '../broker.ts'
import { readInt64 } from './byte-reader.ts'
import { decompress } from './compression.ts'
import { crc32c } from './crc32c.ts'

/** All batches of `producerId` from `firstOffset` up to its next abort marker were aborted. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

export interface DecodedRecords {
  readonly records: LogRecord[]
  /** Past the last whole batch; the requested offset where there was none. */
  readonly next: number
}

const headerBytes = 61
const magicAt = 16
const crcAt = 17
const attributesAt = 21
const compressionMask = 0x07
const logAppendTimeBit = 0x08
const transactionalBit = 0x10
const controlBit = 0x20
const noHeaders: LogRecord['headers'] = Object.freeze(Object.create(null))

/** Throws `kafka_request_failed` where the bytes are damaged or in a form that is not read here. */
export function decodeRecordSet(
  bytes: Buffer,
  location: TopicPartition & { readonly offset: number },
  aborted: readonly AbortedTransaction[],
): DecodedRecords {
  const abortedFirst = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  const open = new Set<number>()
  let abortedSeen = 0
  const records: LogRecord[] = []
  let next = location.offset

  let end = 0
  for (let start = 0; start + headerBytes <= bytes.length || isOldFormat(bytes, start); start = end) {
    end = start + 12 + bytes.readInt32BE(start + 8)
    const baseOffset = readInt64(bytes, start)
    checkFormat(bytes, start, baseOffset, location)
    if (end > bytes.length) break
    checkBatch(bytes, start, end, baseOffset, location)
    const attributes = bytes.readInt16BE(start + attributesAt)
    const lastOffset = baseOffset + bytes.readInt32BE(start + 23)
    const producerId = readInt64(bytes, start + 43)
    next = Math.max(next, lastOffset + 1)

    for (; abortedSeen < abortedFirst.length && abortedFirst[abortedSeen]!.firstOffset <= lastOffset; abortedSeen++) {
      open.add(abortedFirst[abortedSeen]!.producerId)
    }
    if (attributes & controlBit) {
      if (isAbortMarker(bytes, start + headerBytes, end)) open.delete(producerId)
      continue
    }
    if (attributes & transactionalBit && open.has(producerId)) continue

    const compression = attributes & compressionMask
    const packed = compression === 0 ? null : bytes.subarray(start + headerBytes, end)
    const batch: Batch = {
      bytes: packed === null ? bytes : decompress(compression, packed, { ...location, offset: baseOffset }),
      from: packed === null ? start + headerBytes : 0,
      baseOffset,
      count: bytes.readInt32BE(start + 57),
      firstTimestamp: readInt64(bytes, start + 27),
      appendTime: attributes & logAppendTimeBit ? readInt64(bytes, start + 35) : null,
    }
    const stop = readRecords(batch, location.offset, records)
    if (stop !== (packed === null ? end : batch.bytes.length)) {
      throw damaged(location, baseOffset, 'its records do not fill the batch')
    }
  }
  return { records, next }
}

interface Batch {
  readonly bytes: Buffer
  /** Where the records start in `bytes`. */
  readonly from: number
  readonly baseOffset: number
  readonly count: number
  readonly firstTimestamp: number
  /** The broker's clock for the whole batch; null where each record has a time of its own. */
  readonly appendTime: number | null
}

/** Messages of the formats before v2 may be shorter than the header of a batch. */
function isOldFormat(bytes: Buffer, start: number): boolean {
  return start + magicAt < bytes.length && bytes.readInt8(start + magicAt) < 2
}

function checkFormat(bytes: Buffer, start: number, offset: number, location: TopicPartition): void {
  const magic = bytes.readInt8(start + magicAt)
  if (magic !== 2) throw damaged(location, offset, `its format is v${magic}, only v2 (Kafka 0.11 and later) is read`)
}

function checkBatch(bytes: Buffer, start: number, end: number, offset: number, location: TopicPartition): void {
  if (end < start + headerBytes) throw damaged(location, offset, 'its length is shorter than its header')
  if (crc32c(bytes, start + attributesAt, end) !== bytes.readUInt32BE(start + crcAt)) {
    throw damaged(location, offset, 'its checksum does not match its bytes')
  }
}

function damaged(location: TopicPartition, offset: number, reason: string): PipelineError {
  const { topic, partition } = location
  return new PipelineError(
    'kafka_request_failed',
    `The record batch at offset ${offset} of ${topic}, partition ${partition}, cannot be read: ${reason}`,
    { details: { topic, partition, offset } },
  )
}

/** Reading position of `readRecords`, shared with `readVarint` so that neither allocates. */
let cursor = 0

/** Adds the batch's records from offset `wanted` on; returns where they end. */
function readRecords(batch: Batch, wanted: number, records: LogRecord[]): number {
  const { bytes, baseOffset, appendTime } = batch
  cursor = batch.from
  for (let left = batch.count; left > 0; left--) {
    readVarint(bytes) // length of the record
    cursor++ // attributes, unused by Kafka
    const timestamp = readVarint(bytes)
    const offset = baseOffset + readVarint(bytes)
    const key = readField(bytes)
    const value = readField(bytes)
    const headerCount = readVarint(bytes)
    const headers = headerCount === 0 ? noHeaders : readHeaders(bytes, headerCount)
    // A fetch answers whole batches, also with records before the requested offset.
    if (offset < wanted) continue
    records.push({ offset, appendedAtMs: appendTime ?? batch.firstTimestamp + timestamp, key, value, headers })
  }
  return cursor
}

function readHeaders(bytes: Buffer, count: number): LogRecord['headers'] {
  const headers: Record<string, Buffer> = Object.create(null)
  for (let left = count; left > 0; left--) {
    const length = readVarint(bytes)
    const name = bytes.toString('utf8', cursor, cursor + length)
    cursor += length
    headers[name] = readField(bytes) ?? Buffer.alloc(0)
  }
  return headers
}

function readField(bytes: Buffer): Buffer | null {
  const length = readVarint(bytes)
  if (length < 0) return null
  const start = cursor
  cursor += length
  return bytes.subarray(start, cursor)
}

/** Zigzag, up to 64 bits, exact up to 2^53. */
function readVarint(bytes: Buffer): number {
  const first = bytes[cursor++]!
  if (first < 0x80) return (first >>> 1) ^ -(first & 1)
  let value = first & 0x7f
  let scale = 0x80
  let byte: number
  do {
    byte = bytes[cursor++]!
    value += (byte & 0x7f) * scale
    scale *= 0x80
  } while (byte >= 0x80)
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

/** A control record's key is its version (16 bits) and its type (16 bits): 0 abort, 1 commit. */
function isAbortMarker(bytes: Buffer, from: number, end: number): boolean {
  cursor = from
  readVarint(bytes)
  cursor++
  readVarint(bytes)
  readVarint(bytes)
  const key = cursor < end ? readField(bytes) : null
  return key !== null && key.length >= 4 && key.readInt16BE(2) === 0
}
