/**
 * The record set of one fetched partition: its bytes and the aborted transactions come in, committed records and the
 * offset to continue from go out. They are copied out of the answer, batch by batch.
 *
 * A batch's producer id decides for all its records whether they belong to an aborted transaction; control batches
 * (commit and abort markers) take offsets but hold no records for us. A batch that was cut off at the end of the
 * response is left for the next fetch.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { LogRecord, TopicPartition } from '../broker.ts'
import { createColumns, noRecords, type Records, recordsOver } from '../records.ts'
import { readInt64 } from './byte-reader.ts'
import { decompress } from './compression.ts'
import { crc32c } from './crc32c.ts'

/** All batches of `producerId` from `firstOffset` up to its next abort marker were aborted. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

export interface DecodedRecords {
  readonly records: Records
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
/** Length, attributes, time, offset, key, value and number of headers take a byte each at least. */
const recordBytesMin = 7

/** Throws `kafka_request_failed` where the bytes are damaged or in a form that is not read here. */
export function decodeRecordSet(
  bytes: Buffer,
  location: TopicPartition & { readonly offset: number },
  aborted: readonly AbortedTransaction[],
): DecodedRecords {
  const { batches, next } = readableBatches(bytes, location, aborted)
  if (batches.length === 0) return { records: noRecords, next }
  return { records: readBatches(batches, location), next }
}

/** The batches of committed records, in offset order. */
function readableBatches(
  bytes: Buffer,
  location: TopicPartition & { readonly offset: number },
  aborted: readonly AbortedTransaction[],
): { readonly batches: Batch[]; readonly next: number } {
  const abortedFirst = [...aborted].sort((a, b) => a.firstOffset - b.firstOffset)
  const open = new Set<number>()
  let abortedSeen = 0
  const batches: Batch[] = []
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
    // A fetch answers whole batches, also those before the requested offset.
    if (lastOffset < location.offset) continue

    const compression = attributes & compressionMask
    const packed = bytes.subarray(start + headerBytes, end)
    const section = compression === 0 ? packed : decompress(compression, packed, { ...location, offset: baseOffset })
    const count = bytes.readInt32BE(start + 57)
    if (count < 0 || count * recordBytesMin > section.length) {
      throw damaged(location, baseOffset, `it cannot hold its ${count} records`)
    }
    batches.push({
      section,
      baseOffset,
      count,
      firstTimestamp: readInt64(bytes, start + 27),
      appendTime: attributes & logAppendTimeBit ? readInt64(bytes, start + 35) : null,
    })
  }
  return { batches, next }
}

interface Batch {
  /** Its records, unpacked. */
  readonly section: Buffer
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

/** What is read into. */
interface Target {
  readonly columns: ReturnType<typeof createColumns>
  readonly headers: Map<number, LogRecord['headers']>
  length: number
}

/** Copies the records out of the answer, so that what holds some of them does not keep all of it in memory. */
function readBatches(batches: readonly Batch[], location: TopicPartition & { readonly offset: number }): Records {
  let count = 0
  let size = 0
  for (const batch of batches) {
    count += batch.count
    size += batch.section.length
  }
  const target: Target = {
    columns: createColumns(count, Buffer.allocUnsafeSlow(size)),
    headers: new Map(),
    length: 0,
  }
  let from = 0
  for (const batch of batches) {
    const { section, baseOffset } = batch
    const end = from + section.copy(target.columns.bytes, from)
    if (readRecords(batch, from, end, location.offset, target) !== end) {
      throw damaged(location, baseOffset, 'its records do not fill the batch')
    }
    from = end
  }
  const { columns, headers, length } = target
  return recordsOver({ ...columns, headers, length })
}

/** Reading position of `readRecords`, shared with `readVarint` so that neither allocates. */
let cursor = 0

/** Adds the batch's records, which lie in [from, end), from offset `wanted` on; returns where they end. −1: beyond the end. */
function readRecords(batch: Batch, from: number, end: number, wanted: number, target: Target): number {
  const { baseOffset, appendTime, firstTimestamp } = batch
  const { bytes, offsets, appendedAtMs, keyStarts, keyEnds, valueStarts, valueEnds } = target.columns
  cursor = from
  for (let left = batch.count; left > 0; left--) {
    readVarint(bytes) // length of the record
    cursor++ // attributes, unused by Kafka
    const timestamp = readVarint(bytes)
    const offset = baseOffset + readVarint(bytes)
    const keyLength = readVarint(bytes)
    const keyStart = cursor
    if (keyLength > 0) cursor += keyLength
    const keyEnd = cursor
    const valueLength = readVarint(bytes)
    const valueStart = cursor
    if (valueLength > 0) cursor += valueLength
    const valueEnd = cursor
    const headerCount = readVarint(bytes)
    if (cursor > end) return -1
    // A fetch answers whole batches, also with records before the requested offset.
    const isWanted = offset >= wanted
    const index = target.length
    if (headerCount > 0) {
      const headers = readHeaders(bytes, headerCount, end)
      if (headers === null) return -1
      if (isWanted) target.headers.set(index, headers)
    }
    if (!isWanted) continue
    offsets[index] = offset
    appendedAtMs[index] = appendTime ?? firstTimestamp + timestamp
    keyStarts[index] = keyLength < 0 ? -1 : keyStart
    keyEnds[index] = keyEnd
    valueStarts[index] = valueLength < 0 ? -1 : valueStart
    valueEnds[index] = valueEnd
    target.length++
  }
  return cursor
}

/** Null: they reach beyond the end. */
function readHeaders(bytes: Buffer, count: number, end: number): LogRecord['headers'] | null {
  const headers: Record<string, Buffer> = Object.create(null)
  for (let left = count; left > 0; left--) {
    const length = readVarint(bytes)
    const nameStart = cursor
    cursor += Math.max(0, length)
    const nameEnd = cursor
    const valueLength = readVarint(bytes)
    const valueStart = cursor
    cursor += Math.max(0, valueLength)
    if (cursor > end) return null
    headers[bytes.toString('utf8', nameStart, nameEnd)] = bytes.subarray(valueStart, cursor)
  }
  return headers
}

/** Zigzag, up to 64 bits, exact up to 2^53. Beyond the end of the bytes it reads zeros, and its caller notices. */
function readVarint(bytes: Buffer): number {
  const first = bytes[cursor++]!
  if (first < 0x80) return (first >>> 1) ^ -(first & 1)
  let value = first & 0x7f
  let scale = 0x80
  let byte: number
  do {
    byte = bytes[cursor++] ?? 0
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
  const length = readVarint(bytes)
  return length >= 4 && cursor + length <= end && bytes.readInt16BE(cursor + 2) === 0
}
