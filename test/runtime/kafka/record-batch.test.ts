import { createRequire } from 'node:module'
import zlib from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { OutRecord } from '../../../runtime/broker.ts'
import { frameRecords, recordBytesMax, unframed } from '../../../runtime/framed-records.ts'
import { createByteWriter } from '../../../runtime/kafka/byte-writer.ts'
import { crc32c } from '../../../runtime/kafka/crc32c.ts'
import { decodeRecordSet } from '../../../runtime/kafka/record-batch-decoder.ts'
import { writeRecordBatch } from '../../../runtime/kafka/record-batch-encoder.ts'

const seed = 20260802
const position = { topic: 't', partition: 0, offset: 0 }

interface BatchOptions {
  readonly baseOffset?: number
  readonly producerId?: number
  readonly transactional?: boolean
  /** Bits to set beside what the encoder writes: 8 LogAppendTime, 32 control. */
  readonly attributes?: number
  readonly lastOffsetDelta?: number
}

/** A batch as in a log: encoded by us, then given its offset as by a broker. */
function batch(records: ReadonlyArray<Partial<OutRecord>>, options: BatchOptions = {}): Buffer {
  const writer = createByteWriter(1)
  writeRecordBatch(
    writer,
    frameRecords(records.map((record) => ({ topic: 't', partition: 0, key: null, value: null, ...record }))),
    {
      producerId: options.producerId ?? 1,
      producerEpoch: 0,
      baseSequence: 0,
      transactional: options.transactional ?? false,
      timestampMs: 1_700_000_000_000,
    },
  )
  const bytes = Buffer.from(writer.bytes())
  bytes.writeBigInt64BE(BigInt(options.baseOffset ?? 0), 0)
  bytes.writeInt16BE(bytes.readInt16BE(21) | (options.attributes ?? 0), 21)
  if (options.lastOffsetDelta !== undefined) bytes.writeInt32BE(options.lastOffsetDelta, 23)
  return sealed(bytes)
}

function sealed(bytes: Buffer): Buffer {
  bytes.writeInt32BE(bytes.length - 12, 8)
  bytes.writeUInt32BE(crc32c(bytes, 21, bytes.length), 17)
  return bytes
}

const text = (value: string) => ({ value: Buffer.from(value) })

function marker(baseOffset: number, producerId: number, type: 'abort' | 'commit'): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1])
  return batch([{ key, value: Buffer.alloc(6) }], { baseOffset, producerId, transactional: true, attributes: 32 })
}

async function valuesOf(bytes: Buffer, aborted: Array<{ producerId: number; firstOffset: number }> = [], offset = 0) {
  const { records, next } = await decodeRecordSet(bytes, { ...position, offset }, aborted)
  return { values: [...records].map(({ offset: at, value }) => `${at}:${value}`), next }
}

describe('encoded record batches', () => {
  test('have the bytes of the format, version 2', () => {
    const bytes = batch([{ key: Buffer.from('k'), value: Buffer.from('v'), headers: { h: Buffer.from('x') } }, {}])
    expect(bytes.toString('hex')).toBe(
      [
        '0000000000000000', // base offset
        '0000004a'.replace('4a', (bytes.length - 12).toString(16)),
        'ffffffff', // leader epoch
        '02', // magic
        crc32c(bytes, 21, bytes.length).toString(16).padStart(8, '0'),
        '0000', // attributes
        '00000001', // last offset delta
        '0000018bcfe56800',
        '0000018bcfe56800',
        '0000000000000001', // producer id
        '0000', // producer epoch
        '00000000', // base sequence
        '00000002', // count
        '18000000026b0276020268', // length 12, attributes, time, offset 0, key, value, one header named h
        '0278', // its value x
        '0c000002010100', // length 6, attributes, time, offset 1, null, null, no headers
      ].join(''),
    )
  })

  const bytesOf = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))
  const recordOf = fc.record({
    key: fc.option(bytesOf),
    value: fc.option(bytesOf),
    headers: fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 40 }), bytesOf, { maxKeys: 4 }),
  })

  test('are read back, within the announced size', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(recordOf, { minLength: 1, maxLength: 80 }), async (written) => {
        const records = written.map((record) => ({ topic: 't', partition: 0, ...record }))
        const bytes = batch(records)
        expect(bytes.length).toBeLessThanOrEqual(61 + records.reduce((sum, record) => sum + recordBytesMax(record), 0))
        const plain = ({ key, value, headers = {} }: OutRecord) => ({ key, value, headers: { ...headers } })
        expect(unframed(frameRecords(records)).map(plain)).toEqual(records.map(plain))
        const read = await decodeRecordSet(bytes, position, [])
        expect(read.next).toBe(records.length)
        expect([...read.records].map(({ key, value, headers }) => ({ key, value, headers: { ...headers } }))).toEqual(
          written.map(({ key, value, headers }) => ({ key, value, headers: { ...headers } })),
        )
        expect([...read.records].every(({ appendedAtMs }) => appendedAtMs === 1_700_000_000_000)).toBe(true)
      }),
      { seed, numRuns: 100 },
    )
  })

  test("are read back by kafkajs's own decoder", async () => {
    const require = createRequire(import.meta.url)
    const Decoder = require('kafkajs/src/protocol/decoder')
    const decode = require('kafkajs/src/protocol/recordBatch/v0/decoder')
    const large = Buffer.alloc(900_000, 'ab')
    const bytes = batch([{ key: Buffer.from('ü'), headers: { ü: Buffer.from('x') } }, { value: large }], {
      producerId: 2 ** 40,
      transactional: true,
    })
    const read = await decode(new Decoder(bytes))
    expect(read.producerId).toBe(String(2 ** 40))
    expect(read.inTransaction).toBe(true)
    expect(read.records[0].key).toEqual(Buffer.from('ü'))
    expect(read.records[0].value).toBe(null)
    expect(read.records[0].headers).toEqual({ ü: Buffer.from('x') })
    expect(read.records[1].value.equals(large)).toBe(true)
  })
})

describe('fetched record sets', () => {
  test('are read from the requested offset, across batches, and continue past the last one', async () => {
    const bytes = Buffer.concat([
      batch([text('a'), text('b'), text('c')], { baseOffset: 10 }),
      batch([text('d')], { baseOffset: 20 }),
    ])
    expect(await valuesOf(bytes, [], 11)).toEqual({ values: ['11:b', '12:c', '20:d'], next: 21 })
  })

  test('leave a batch that was cut off for the next fetch', async () => {
    const whole = batch([text('a')], { baseOffset: 5 })
    const cut = batch([text('b')], { baseOffset: 6 })
    for (const length of [1, 20, 61, cut.length - 1]) {
      const bytes = Buffer.concat([whole, cut.subarray(0, length)])
      expect(await valuesOf(bytes, [], 5)).toEqual({ values: ['5:a'], next: 6 })
    }
    expect(await valuesOf(Buffer.alloc(0), [], 7)).toEqual({ values: [], next: 7 })
  })

  test('take the time of the batch where the topic is LogAppendTime', async () => {
    const bytes = batch([text('a'), text('b')], { attributes: 8 })
    bytes.writeBigInt64BE(1_800_000_000_000n, 35)
    const { records } = await decodeRecordSet(sealed(bytes), position, [])
    expect([...records].map(({ appendedAtMs }) => appendedAtMs)).toEqual([1_800_000_000_000, 1_800_000_000_000])
  })

  test('leave out markers and aborted transactions, and continue past them', async () => {
    const bytes = Buffer.concat([
      batch([text('no')], { baseOffset: 0, producerId: 7, transactional: true }),
      batch([text('yes')], { baseOffset: 1, producerId: 8, transactional: true }),
      marker(2, 7, 'abort'),
      batch([text('again')], { baseOffset: 3, producerId: 7, transactional: true }),
      marker(4, 7, 'commit'),
      batch([text('never')], { baseOffset: 5, producerId: 7, transactional: true }),
      batch([text('plain')], { baseOffset: 6, producerId: 7 }),
      marker(7, 8, 'commit'),
      marker(8, 7, 'abort'),
    ])
    const aborted = [
      { producerId: 7, firstOffset: 5 },
      { producerId: 7, firstOffset: 0 },
    ]
    expect(await valuesOf(bytes, aborted)).toEqual({ values: ['1:yes', '3:again', '6:plain'], next: 9 })
  })

  test('of a compacted log end at the end of the batch, not of its records', async () => {
    expect(await valuesOf(batch([text('a')], { lastOffsetDelta: 9 }))).toEqual({ values: ['0:a'], next: 10 })
  })

  test('are unpacked; an unknown codec is named', async () => {
    const packed = (codec: number, pack: (records: Buffer) => Buffer) => {
      const plain = batch([text('a'), text('b')])
      const bytes = Buffer.concat([plain.subarray(0, 61), pack(plain.subarray(61))])
      bytes.writeInt16BE(codec, 21)
      return sealed(bytes)
    }
    expect(await valuesOf(packed(1, (records) => zlib.gzipSync(records)))).toEqual({ values: ['0:a', '1:b'], next: 2 })
    await expect(valuesOf(packed(5, (records) => records))).rejects.toMatchObject({
      code: 'kafka_request_failed',
      message:
        'The codec 5 batch at offset 0 of t, partition 0, cannot be unpacked: only gzip, snappy, lz4 and zstd are known',
    })
  })

  test('that are damaged are rejected', async () => {
    const fail = (reason: string) => ({
      code: 'kafka_request_failed',
      message: `The record batch at offset 3 of t, partition 0, cannot be read: ${reason}`,
    })
    const flipped = batch([text('abc')], { baseOffset: 3 })
    flipped[70]! ^= 1
    await expect(valuesOf(flipped)).rejects.toMatchObject(fail('its checksum does not match its bytes'))
    const old = batch([text('abc')], { baseOffset: 3 })
    old[16] = 1
    await expect(valuesOf(old)).rejects.toMatchObject(fail('its format is v1, only v2 (Kafka 0.11 and later) is read'))
    // A message of the old format, shorter than the header of a batch.
    await expect(valuesOf(old.subarray(0, 40))).rejects.toMatchObject({ code: 'kafka_request_failed' })
    const short = batch([text('abc'), text('d')], { baseOffset: 3 })
    short.writeInt32BE(1, 57)
    await expect(valuesOf(sealed(short))).rejects.toMatchObject(fail('its records do not fill the batch'))
  })
})
