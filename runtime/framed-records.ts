/**
 * Records of one partition, encoded as they lie in a record batch (format v2), one after the other in one buffer: the batch loop writes the
 * value of each in place, and the broker only adds the header of the batch. Made here, sent by `Worker` and `Producer`.
 */
import assert from 'node:assert/strict'
import { type ByteTarget, createByteTarget, reserve, writeBytes } from '../schemas/wire/byte-target.ts'
import { capacityAfter } from './kept-bytes.ts'

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** A record to write. `partition` is chosen by the caller (see `partition.ts`), so that keys, tasks and stores agree on it. */
export interface OutRecord extends TopicPartition {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, Buffer>>
}

export interface FramedRecords extends TopicPartition {
  readonly count: number
  /** Room for the header of a batch, then the records. */
  readonly bytes: Buffer
}

/** What is sent: single records, or many that are encoded already. */
export type Outgoing = OutRecord | FramedRecords

export const isFramed = (outgoing: Outgoing): outgoing is FramedRecords => 'count' in outgoing

/** Bytes of the header that precedes a batch's records. */
export const batchHeaderBytes = 61

/** A run of several records stays below this; brokers take 1,048,588 bytes a batch by default. */
export const batchBytesMax = 1_000_000

export interface RecordFrame extends TopicPartition {
  readonly target: ByteTarget
  count: number
  recordStart: number
  valueStart: number
  /** Bytes of the lengths of a record and of its value, as they were in the last one: mostly they are the same again. */
  lengthWidth: number
  valueWidth: number
}

/** Lengths, deltas and the like of one record, beside key and value. */
const frameBytesMax = 40

/** Of each partition that was written to, twice. */
const keptBytes = 65_536

export function createFrame({ topic, partition }: TopicPartition, capacity = 4_096): RecordFrame {
  const target = createByteTarget(capacity)
  target.end = batchHeaderBytes
  return { topic, partition, target, count: 0, recordStart: 0, valueStart: 0, lengthWidth: 1, valueWidth: 1 }
}

/** For other records; what `framedOf` gave is written over. */
export function clearFrame(frame: RecordFrame): void {
  const { target } = frame
  const capacity = capacityAfter(target.bytes.length, target.end, keptBytes)
  if (capacity < target.bytes.length) Object.assign(target, createByteTarget(capacity))
  target.end = batchHeaderBytes
  frame.count = 0
}

/** Begins a record with the key in [start, end) of `key`; its value is then written to `frame.target`. `start` −1: no key. */
export function beginRecord(frame: RecordFrame, key: Uint8Array, start: number, end: number): void {
  const { target } = frame
  reserve(target, frameBytesMax + Math.max(0, end - start))
  frame.recordStart = target.end
  target.end += frame.lengthWidth
  // Attributes, and the time since the first record of the batch.
  target.bytes[target.end++] = 0
  target.bytes[target.end++] = 0
  writeVarint(target, frame.count << 1)
  if (start < 0) target.bytes[target.end++] = 1
  else {
    writeVarint(target, (end - start) << 1)
    writeBytes(target, key, start, end)
  }
  frame.valueStart = target.end
  target.end += frame.valueWidth
}

const none: readonly string[] = []

export function endRecord(frame: RecordFrame, headers?: OutRecord['headers'] | null): void {
  const { target } = frame
  frame.valueWidth = setLength(target, frame.valueStart, frame.valueWidth)
  finishRecord(frame, headers)
}

function finishRecord(frame: RecordFrame, headers: OutRecord['headers'] | null): void {
  const { target } = frame
  const names = headers ? Object.keys(headers) : none
  reserve(target, frameBytesMax)
  writeVarint(target, names.length << 1)
  for (const name of names) {
    writeField(target, Buffer.from(name))
    writeField(target, headers![name]!)
  }
  frame.lengthWidth = setLength(target, frame.recordStart, frame.lengthWidth)
  frame.count++
}

export function addRecord(frame: RecordFrame, { key, value, headers }: OutRecord): void {
  beginRecord(frame, key ?? emptyBytes, key === null ? -1 : 0, key?.length ?? 0)
  const { target } = frame
  if (value !== null) {
    reserve(target, value.length)
    writeBytes(target, value, 0, value.length)
    endRecord(frame, headers)
    return
  }
  target.end = frame.valueStart
  target.bytes[target.end++] = 1
  finishRecord(frame, headers)
}

const emptyBytes = Buffer.alloc(0)

export function framedOf({ topic, partition, target, count }: RecordFrame): FramedRecords {
  return { topic, partition, count, bytes: target.bytes.subarray(0, target.end) }
}

/** Records of one partition, at least one. */
export function frameRecords(records: readonly OutRecord[]): FramedRecords {
  const size = records.reduce((sum, record) => sum + recordBytesMax(record), batchHeaderBytes)
  const frame = createFrame(records[0]!, size)
  for (const record of records) addRecord(frame, record)
  return framedOf(frame)
}

/** Upper bound of the encoded size. */
export function recordBytesMax(record: OutRecord): number {
  let size = 24 + (record.key?.length ?? 0) + (record.value?.length ?? 0)
  if (record.headers !== undefined) {
    for (const name of Object.keys(record.headers)) size += 10 + 3 * name.length + record.headers[name]!.length
  }
  return size
}

/** The length of what was written behind `width` bytes for it, which move where it takes others; returns how many it takes. */
function setLength(target: ByteTarget, at: number, width: number): number {
  const length = target.end - at - width
  const needed = varintBytes(length)
  if (needed !== width) {
    reserve(target, needed)
    target.bytes.copyWithin(at + needed, at + width, target.end)
    target.end += needed - width
  }
  const { end } = target
  target.end = at
  writeVarint(target, length << 1)
  target.end = end
  return needed
}

function writeField(target: ByteTarget, field: Buffer): void {
  reserve(target, field.length + frameBytesMax)
  writeVarint(target, field.length << 1)
  writeBytes(target, field, 0, field.length)
}

/** Lengths and deltas only, doubled by their caller: not negative, below 2^31. */
function writeVarint(target: ByteTarget, doubled: number): void {
  const { bytes } = target
  let rest = doubled
  while (rest > 0x7f) {
    bytes[target.end++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  bytes[target.end++] = rest
}

function varintBytes(value: number): number {
  return value < 0x40 ? 1 : value < 0x2000 ? 2 : value < 0x100000 ? 3 : value < 0x8000000 ? 4 : 5
}

/** Single records again, for a broker that keeps them so. Key, value and headers are views of the frame's bytes. */
export function unframed(framed: FramedRecords): OutRecord[] {
  const { topic, partition, count, bytes } = framed
  let at = batchHeaderBytes
  const readLength = () => {
    let value = 0
    let weight = 1
    let byte: number
    do {
      byte = bytes[at++]!
      value += (byte & 0x7f) * weight
      weight *= 128
    } while (byte >= 0x80)
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }
  const readField = () => {
    const length = readLength()
    if (length < 0) return null
    at += length
    return bytes.subarray(at - length, at)
  }
  const records = Array.from({ length: count }, (_, index): OutRecord => {
    readLength()
    at += 2
    assert(readLength() === index, 'records are numbered from 0')
    const [key, value] = [readField(), readField()]
    const headers = Array.from({ length: readLength() }, () => [String(readField()), readField()!] as const)
    const record = { topic, partition, key, value }
    return headers.length > 0 ? { ...record, headers: Object.fromEntries(headers) } : record
  })
  assert(at === bytes.length, 'records fill the frame')
  return records
}
