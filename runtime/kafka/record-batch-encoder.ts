/**
 * Record batches (format v2, uncompressed): records that are encoded already come in, the bytes of a Produce request's record set go out,
 * with the header of the batch in front. Called by `produce-request.ts`.
 *
 * Layout of the 61-byte header: base offset 8, length 4, leader epoch 4, magic 1, CRC-32C 4 (over all that follows
 * it), attributes 2, last offset delta 4, first and last timestamp 8 + 8, producer id 8, producer epoch 2, base
 * sequence 4, record count 4.
 */
import type { FramedRecords } from '../framed-records.ts'
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

const attributesAt = 21

export function writeRecordBatch(writer: ByteWriter, { bytes, count }: FramedRecords, identity: BatchIdentity): void {
  const start = writer.length()
  const target = writer.reserve(bytes.length)
  const end = start + bytes.length
  target.set(bytes, start)
  writer.moveTo(end)
  writeInt64(target, 0, start)
  target.writeInt32BE(end - start - 12, start + 8)
  target.writeInt32BE(-1, start + 12)
  target.writeInt8(2, start + 16)
  target.writeInt16BE(identity.transactional ? 0x10 : 0, start + attributesAt)
  target.writeInt32BE(count - 1, start + 23)
  writeInt64(target, identity.timestampMs, start + 27)
  writeInt64(target, identity.timestampMs, start + 35)
  writeInt64(target, identity.producerId, start + 43)
  target.writeInt16BE(identity.producerEpoch, start + 51)
  target.writeInt32BE(identity.baseSequence, start + 53)
  target.writeInt32BE(count, start + 57)
  target.writeUInt32BE(crc32c(target, start + attributesAt, end), start + 17)
}
