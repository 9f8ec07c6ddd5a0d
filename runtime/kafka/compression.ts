/**
 * The records of a compressed batch in, the plain records out; called by the batch decoder. What a batch unpacks to is bounded before
 * memory is used: by the library where it can, else by the sizes that the bytes declare.
 */
import zlib from 'node:zlib'
import { decompressFrameSync } from 'lz4-napi'
import { uncompressSync } from 'snappy'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TopicPartition } from '../broker.ts'
import { unpackZstd } from './zstd.ts'

/** A batch that unpacks to more than this is rejected. */
const unpackedBytesMax = 128 * 1_024 * 1_024

interface Codec {
  readonly name: string
  /** Throws on damaged bytes and beyond `bytesMax`. */
  readonly unpack: (packed: Buffer, bytesMax: number) => Buffer
}

/** By the number in a batch's attributes. */
const codecs: readonly (Codec | undefined)[] = [
  undefined,
  { name: 'gzip', unpack: (packed, bytesMax) => zlib.gunzipSync(packed, { maxOutputLength: bytesMax }) },
  { name: 'snappy', unpack: unpackSnappy },
  { name: 'lz4', unpack: unpackLz4 },
  { name: 'zstd', unpack: unpackZstd },
]

/** Throws `kafka_request_failed`. */
export function decompress(
  compression: number,
  packed: Buffer,
  location: TopicPartition & { readonly offset: number },
  bytesMax = unpackedBytesMax,
): Buffer {
  const { topic, partition, offset } = location
  const codec = codecs[compression]
  const name = codec?.name ?? `codec ${compression}`
  try {
    if (codec === undefined) throw new Error('only gzip, snappy, lz4 and zstd are known')
    return codec.unpack(packed, bytesMax)
  } catch (cause) {
    throw new PipelineError(
      'kafka_request_failed',
      `The ${name} batch at offset ${offset} of ${topic}, partition ${partition}, cannot be unpacked: ${(cause as Error).message}`,
      { cause, details: { topic, partition, offset, compression: name } },
    )
  }
}

/** How snappy-java and those that follow it begin: 0x82 SNAPPY 0, then two version numbers. librdkafka writes one bare block. */
const xerialMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const xerialHeaderBytes = 16

function unpackSnappy(packed: Buffer, bytesMax: number): Buffer {
  const blocks = packed.subarray(0, xerialMagic.length).equals(xerialMagic) ? xerialBlocks(packed) : [packed]
  const declared = blocks.reduce((sum, block) => sum + snappyLength(block), 0)
  if (declared > bytesMax) throw new Error(`it unpacks to ${declared} bytes, at most ${bytesMax} are read`)
  const parts = blocks.map((block) => uncompressSync(block, { asBuffer: true }) as Buffer)
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
}

/** Each block has its length before it. */
function xerialBlocks(packed: Buffer): Buffer[] {
  const blocks: Buffer[] = []
  for (let at = xerialHeaderBytes; at < packed.length; ) {
    const end = at + 4 + packed.readUInt32BE(at)
    if (end > packed.length) throw new Error('it is cut short')
    blocks.push(packed.subarray(at + 4, end))
    at = end
  }
  return blocks
}

/** The varint that a block begins with: what it unpacks to. The library holds a block to it. */
function snappyLength(block: Buffer): number {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = block.readUInt8(i)
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) return length
  }
  throw new Error('its length takes more than five bytes')
}

const lz4Magic = 0x184d2204
/** A byte of an LZ4 block decompresses to at most this many. */
const lz4RatioMax = 255

function unpackLz4(packed: Buffer, bytesMax: number): Buffer {
  const largest = lz4LengthMax(packed)
  if (largest > bytesMax) throw new Error(`it may unpack to ${largest} bytes, at most ${bytesMax} are read`)
  return decompressFrameSync(packed)
}

/** Upper bound of what one frame unpacks to, from the lengths of its blocks. */
function lz4LengthMax(packed: Buffer): number {
  if (packed.readUInt32LE(0) !== lz4Magic) throw new Error('it is no LZ4 frame')
  const flags = packed.readUInt8(4)
  const blockBytesMax = 2 ** (8 + 2 * ((packed.readUInt8(5) >> 4) & 7))
  const checksumBytes = flags & 0x10 ? 4 : 0
  // Magic, flags, block size, content size where it is there, dictionary id where it is there, checksum of the header.
  let at = 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0)
  let length = 0
  for (let word = packed.readUInt32LE(at); word !== 0; word = packed.readUInt32LE(at)) {
    const isPlain = word >= 0x8000_0000
    const size = word % 0x8000_0000
    length += isPlain ? size : Math.min(blockBytesMax, size * lz4RatioMax)
    at += 4 + size + checksumBytes
  }
  // Behind the empty block that ends the frame only a checksum of the content may come.
  const end = at + 4 + (flags & 0x04 ? 4 : 0)
  if (end !== packed.length) throw new Error(`${packed.length - end} bytes are left over after the LZ4 frame`)
  return length
}
