/**
 * Kafka's primitive types written one after the other into one growing Buffer; every request of ours is made with it.
 */
import assert from 'node:assert/strict'

export interface ByteWriter {
  /** Bytes written so far. */
  length(): number
  /** What was written, as a view that stays valid until the next write. */
  bytes(): Buffer
  /**
   * Makes room for `size` more bytes and returns the buffer, for those who write into it themselves from `length()`
   * on.
   */
  reserve(size: number): Buffer
  /** Marks the buffer as written up to `length`. */
  moveTo(length: number): void
  int8(value: number): void
  int16(value: number): void
  int32(value: number): void
  /** A safe integer. */
  int64(value: number): void
  unsignedVarint(value: number): void
  string(value: string | null): void
  compactString(value: string | null): void
  byteString(value: Uint8Array | null): void
  array<T>(items: readonly T[], write: (item: T) => void): void
  compactArray<T>(items: readonly T[], write: (item: T) => void): void
  /** The empty tag section that ends every structure of a flexible request version. */
  noTags(): void
}

/** Writes a safe integer as 64 bits, big endian. */
export function writeInt64(target: Buffer, value: number, at: number): void {
  assert(Number.isSafeInteger(value))
  target.writeInt32BE(Math.floor(value / 2 ** 32), at)
  target.writeUInt32BE(value >>> 0, at + 4)
}

export function createByteWriter(initialBytes = 256): ByteWriter {
  let buffer = Buffer.allocUnsafe(initialBytes)
  let length = 0

  function reserve(size: number): Buffer {
    if (length + size > buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(length + size, 2 * buffer.length))
      buffer.copy(grown, 0, 0, length)
      buffer = grown
    }
    return buffer
  }

  const writer: ByteWriter = {
    length: () => length,
    bytes: () => buffer.subarray(0, length),
    reserve,
    moveTo(to) {
      assert(to >= length && to <= buffer.length)
      length = to
    },
    int8(value) {
      length = reserve(1).writeInt8(value, length)
    },
    int16(value) {
      length = reserve(2).writeInt16BE(value, length)
    },
    int32(value) {
      length = reserve(4).writeInt32BE(value, length)
    },
    int64(value) {
      writeInt64(reserve(8), value, length)
      length += 8
    },
    unsignedVarint(value) {
      const target = reserve(5)
      let rest = value >>> 0
      while (rest > 0x7f) {
        target[length++] = (rest & 0x7f) | 0x80
        rest >>>= 7
      }
      target[length++] = rest
    },
    string(value) {
      if (value === null) return writer.int16(-1)
      const size = Buffer.byteLength(value)
      writer.int16(size)
      length += reserve(size).write(value, length)
    },
    compactString(value) {
      if (value === null) return writer.unsignedVarint(0)
      const size = Buffer.byteLength(value)
      writer.unsignedVarint(size + 1)
      length += reserve(size).write(value, length)
    },
    byteString(value) {
      if (value === null) return writer.int32(-1)
      writer.int32(value.length)
      reserve(value.length).set(value, length)
      length += value.length
    },
    array(items, write) {
      writer.int32(items.length)
      for (const item of items) write(item)
    },
    compactArray(items, write) {
      writer.unsignedVarint(items.length + 1)
      for (const item of items) write(item)
    },
    noTags() {
      writer.unsignedVarint(0)
    },
  }
  return writer
}
