import { readFileSync } from 'node:fs'
import zlib from 'node:zlib'
import { compressFrameSync } from 'lz4-napi'
import { compressSync } from 'snappy'
import { describe, expect, test } from 'vitest'
import { decompress } from '../../../runtime/kafka/compression.ts'
import { decodeRecordSet } from '../../../runtime/kafka/record-batch-decoder.ts'

const position = { topic: 't', partition: 3, offset: 7 }
const codecs = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const

/** Whole batches as other clients wrote them and Kafka 4.1 kept them: six records each. */
const recorded = JSON.parse(readFileSync(new URL('./recorded-batches.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>

test.each(Object.entries(recorded))('a batch of %s is read', (_, hex) => {
  const { records, next } = decodeRecordSet(Buffer.from(hex, 'hex'), { ...position, offset: 0 }, [])
  expect([...records].map(({ key, value }) => `${key}|${value}`)).toEqual(
    Array.from({ length: 6 }, (_, i) => `key-${i % 2}|event ${i} of größe and größe and größe again`),
  )
  expect(next).toBe(6)
})

test.each(Object.keys(codecs))('the recorded batches hold %s of three clients', (codec) => {
  const attributes = Object.entries(recorded).filter(([name]) => name.startsWith(codec))
  expect(attributes.map(([, hex]) => Buffer.from(hex, 'hex').readInt16BE(21) & 7)).toEqual([
    codecs[codec as keyof typeof codecs],
    codecs[codec as keyof typeof codecs],
    codecs[codec as keyof typeof codecs],
  ])
})

/** As snappy-java frames it. */
function xerial(...blocks: readonly Buffer[]): Buffer {
  const header = Buffer.from('82534e41505059000000000100000001', 'hex')
  const framed = blocks.map((block) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(block.length)
    return Buffer.concat([length, block])
  })
  return Buffer.concat([header, ...framed])
}

interface FrameOptions {
  /** Declared in the frame; without it the frame has a window of 128 KiB. */
  readonly contentBytes?: number
  readonly windowDescriptor?: number
  readonly hasChecksum?: boolean
}

/** A zstd frame of blocks that are a text as it is, or a byte that repeats. */
function zstdFrame(
  blocks: ReadonlyArray<string | { byte: number; times: number }>,
  options: FrameOptions = {},
): Buffer {
  const { contentBytes, windowDescriptor = 0x38, hasChecksum = false } = options
  const flags = (contentBytes === undefined ? 0 : 0xa0) | (hasChecksum ? 4 : 0)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(contentBytes ?? 0)
  const sizeBytes = contentBytes === undefined ? Buffer.from([windowDescriptor]) : size
  const encoded = blocks.map((block, i) => {
    const isLast = i === blocks.length - 1 ? 1 : 0
    const header = Buffer.alloc(3)
    if (typeof block === 'string') header.writeUIntLE((Buffer.byteLength(block) << 3) | isLast, 0, 3)
    else header.writeUIntLE((block.times << 3) | 2 | isLast, 0, 3)
    return Buffer.concat([header, typeof block === 'string' ? Buffer.from(block) : Buffer.from([block.byte])])
  })
  const checksum = hasChecksum ? Buffer.alloc(4) : Buffer.alloc(0)
  return Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.from([flags]), sizeBytes, ...encoded, checksum])
}

const skippable = Buffer.from('5a2a4d1803000000abcdef', 'hex')

describe('forms that the recorded batches do not have', () => {
  test.each<[string, number, Buffer, string]>([
    ['gzip of two members', 1, Buffer.concat([zlib.gzipSync('one '), zlib.gzipSync('two')]), 'one two'],
    ['bare snappy', 2, compressSync('one two'), 'one two'],
    ['several blocks of snappy-java', 2, xerial(compressSync('one '), compressSync('two')), 'one two'],
    ['no block of snappy-java', 2, xerial(), ''],
    ['lz4 with checksums', 3, compressFrameSync('one two', { contentChecksum: true, blockChecksums: true }), 'one two'],
    ['zstd of unknown size', 4, zstdFrame(['one ', 'two']), 'one two'],
    ['zstd of known size', 4, zstdFrame(['one ', 'two'], { contentBytes: 7 }), 'one two'],
    ['zstd with a checksum', 4, zstdFrame(['one two'], { hasChecksum: true }), 'one two'],
    [
      'several frames of zstd',
      4,
      Buffer.concat([
        zstdFrame(['one '], { contentBytes: 4 }),
        skippable,
        zstdFrame(['t', { byte: 0x77, times: 1 }, 'o']),
      ]),
      'one two',
    ],
  ])('%s', (_, codec, packed, text) => {
    expect(decompress(codec, packed, position).toString()).toBe(text)
  })
})

const zeros = Buffer.alloc(100_000)
const repeated = { byte: 0, times: 131_072 }

describe('what unpacks to more than is read', () => {
  test.each<[string, number, Buffer, RegExp]>([
    ['gzip', 1, zlib.gzipSync(zeros), /Cannot create a Buffer larger than 99999 bytes/],
    ['snappy', 2, compressSync(zeros), /it unpacks to 100000 bytes, at most 99999 are read/],
    // Declared only: there is nothing to unpack at all.
    ['snappy that promises 4 GB', 2, Buffer.from('ffffffff0f00', 'hex'), /it unpacks to 4294967295 bytes/],
    ['snappy-java', 2, xerial(compressSync(zeros.subarray(1)), compressSync('a')), /it unpacks to 100000 bytes/],
    ['lz4', 3, compressFrameSync(zeros), /it may unpack to \d+ bytes, at most 99999 are read/],
    ['zstd of known size', 4, zstdFrame(['a'], { contentBytes: 4_000_000_000 }), /it unpacks to 4000000000 bytes/],
    ['zstd of unknown size', 4, zstdFrame([repeated, 'a']), /it needs a window of 131072 bytes/],
  ])('%s is refused', (name, codec, packed, reason) => {
    expect(() => decompress(codec, packed, position, zeros.length - 1)).toThrow(
      expect.objectContaining({ code: 'kafka_request_failed', message: expect.stringMatching(reason) }),
    )
    expect(name).toContain(Object.keys(codecs)[codec - 1])
  })

  test('zstd of unknown size is given up on the way', () => {
    const packed = zstdFrame(Array.from({ length: 20 }, () => repeated))
    expect(decompress(4, packed, position).length).toBe(20 * 131_072)
    expect(() => decompress(4, packed, position, 1_000_000)).toThrow(/it unpacks to more than 1000000 bytes/)
  })

  test('zstd that would move a large window forever is rejected', () => {
    const packed = zstdFrame(
      Array.from({ length: 2_000 }, () => 'a'),
      { windowDescriptor: 0x68 },
    )
    expect(() => decompress(4, packed, position)).toThrow(/its blocks are too many and too small/)
  })
})

describe('damaged bytes', () => {
  const text = 'one two, one two, one two and three'
  test.each<[string, number, Buffer]>([
    ['gzip', 1, zlib.gzipSync(text)],
    ['snappy', 2, compressSync(text)],
    ['snappy', 2, xerial(compressSync(text))],
    ['lz4', 3, compressFrameSync(text)],
    ['zstd', 4, zstdFrame([text])],
    ['zstd', 4, zstdFrame([text], { contentBytes: text.length })],
  ])('of %s are refused with their place', (name, codec, packed) => {
    const fault = {
      code: 'kafka_request_failed',
      message: expect.stringMatching(`^The ${name} batch at offset 7 of t, partition 3, cannot be unpacked: .`),
      details: { topic: 't', partition: 3, offset: 7, compression: name },
    }
    for (const bytes of [packed.subarray(0, packed.length - 5), Buffer.from('what is this, it is no batch at all')]) {
      expect(() => decompress(codec, bytes, position)).toThrow(expect.objectContaining(fault))
    }
  })

  test.each([
    ['a dictionary', Buffer.from('28b52ffd210107', 'hex'), /it needs a dictionary/],
    ['a block larger than blocks are', zstdFrame([{ byte: 0, times: 131_073 }]), /a block of 131073 bytes is larger/],
    ['a frame and something else', Buffer.concat([zstdFrame(['a']), Buffer.from('rest')]), /no zstd frame at byte 10/],
    ['an endless window', zstdFrame(['a'], { windowDescriptor: 0xff }), /it needs a window of \d+ bytes/],
  ])('of zstd with %s are refused', (_, packed, reason) => {
    expect(() => decompress(4, packed, position)).toThrow(reason)
  })

  test('of lz4 with something behind the frame are rejected', () => {
    const packed = Buffer.concat([compressFrameSync('one'), Buffer.from('two')])
    expect(() => decompress(3, packed, position)).toThrow(/3 bytes are left over after the LZ4 frame/)
  })
})
