/** Kafka's primitive types read one after the other from a Buffer; every response of ours is read with it. */
import assert from 'node:assert/strict'

export interface ByteReader {
  position(): number
  remaining(): number
  int8(): number
  int16(): number
  int32(): number
  /** A safe integer. */
  int64(): number
  unsignedVarint(): number
  string(): string | null
  /** A string that the protocol never leaves null. */
  text(): string
  compactString(): string | null
  /** A view, not a copy; null where the length is −1. */
  byteString(): Buffer | null
  /** Null arrays are read as empty. */
  array<T>(read: () => T): T[]
  compactArray<T>(read: () => T): T[]
  /** Passes the tag section of a flexible response version. */
  skipTags(): void
  /** As `skipTags`, but for one tag, of which `read` reads the value; null where it is not there. */
  tagged<T>(tag: number, read: () => T): T | null
}

/** Reads 64 bits, big endian, as a safe integer. */
export function readInt64(source: Buffer, at: number): number {
  const value = source.readInt32BE(at) * 2 ** 32 + source.readUInt32BE(at + 4)
  assert(Number.isSafeInteger(value), 'a 64-bit number from Kafka is beyond 2^53')
  return value
}

const noTag = -1

/** Reading past the end throws a RangeError. */
export function createByteReader(source: Buffer): ByteReader {
  let position = 0

  function take(size: number): number {
    if (size < 0 || position + size > source.length) {
      throw new RangeError(
        `a Kafka response ends at byte ${source.length}, ${size} more bytes were wanted at ${position}`,
      )
    }
    const at = position
    position += size
    return at
  }
  function textOf(size: number): string {
    const at = take(size)
    return source.toString('utf8', at, at + size)
  }

  const reader: ByteReader = {
    position: () => position,
    remaining: () => source.length - position,
    int8: () => source.readInt8(take(1)),
    int16: () => source.readInt16BE(take(2)),
    int32: () => source.readInt32BE(take(4)),
    int64: () => readInt64(source, take(8)),
    unsignedVarint() {
      let value = 0
      for (let shift = 0; shift < 35; shift += 7) {
        const byte = source[take(1)]!
        value |= (byte & 0x7f) << shift
        if (byte < 0x80) return value >>> 0
      }
      throw new RangeError('a Kafka response holds a number of more than five bytes')
    },
    string() {
      const size = reader.int16()
      return size < 0 ? null : textOf(size)
    },
    text() {
      const value = reader.string()
      assert(value !== null, 'a Kafka response lacks a string')
      return value
    },
    compactString() {
      const size = reader.unsignedVarint()
      return size === 0 ? null : textOf(size - 1)
    },
    byteString() {
      const size = reader.int32()
      if (size < 0) return null
      const at = take(size)
      return source.subarray(at, at + size)
    },
    array(read) {
      return repeat(reader.int32(), read)
    },
    compactArray(read) {
      return repeat(reader.unsignedVarint() - 1, read)
    },
    skipTags: () => void readTags(reader, take, noTag, () => undefined),
    tagged: (tag, read) => readTags(reader, take, tag, read),
  }
  return reader
}

/** The value of one tag; null where it is not there. */
function readTags<T>(reader: ByteReader, skip: (size: number) => void, tag: number, read: () => T): T | null {
  let found: T | null = null
  for (let left = reader.unsignedVarint(); left > 0; left--) {
    const isWanted = reader.unsignedVarint() === tag
    const size = reader.unsignedVarint()
    const end = reader.position() + size
    if (isWanted) found = read()
    skip(end - reader.position())
  }
  return found
}

function repeat<T>(count: number, read: () => T): T[] {
  const items: T[] = []
  for (let left = count; left > 0; left--) items.push(read())
  return items
}
