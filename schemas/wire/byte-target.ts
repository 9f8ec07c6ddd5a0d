/**
 * Bytes that grow as they are written: Avro's primitives, in place and without an object a value. Written to by the writers of records
 * that are sent by the thousand; everything else uses avsc.
 */

export interface ByteTarget {
  bytes: Buffer
  view: DataView
  /** Where the next byte goes. */
  end: number
}

export function createByteTarget(capacity: number): ByteTarget {
  const bytes = Buffer.allocUnsafeSlow(capacity)
  return { bytes, view: viewOf(bytes), end: 0 }
}

/** Makes room for so many more bytes. The functions below do not. */
export function reserve(target: ByteTarget, size: number): void {
  const { bytes, end } = target
  if (end + size <= bytes.length) return
  const grown = Buffer.allocUnsafeSlow(Math.max(2 * bytes.length, end + size))
  bytes.copy(grown, 0, 0, end)
  target.bytes = grown
  target.view = viewOf(grown)
}

/** Most bytes of a whole number. */
export const longBytesMax = 8

const groupsBelow = 2 ** 28

/** A safe integer, zigzag, in groups of seven bits. */
export function writeLong(target: ByteTarget, value: number): void {
  const { bytes } = target
  let at = target.end
  if (value >= 0 && value < 0x40) {
    bytes[at] = value << 1
    target.end = at + 1
    return
  }
  // Beyond 2^52 the doubled number is no exact double: both halves are shifted apart.
  const magnitude = value < 0 ? -(value + 1) : value
  const high = Math.floor(magnitude / (groupsBelow / 2))
  let low = ((magnitude % (groupsBelow / 2)) << 1) | (value < 0 ? 1 : 0)
  if (high > 0) {
    bytes[at] = (low & 0x7f) | 0x80
    bytes[at + 1] = ((low >>> 7) & 0x7f) | 0x80
    bytes[at + 2] = ((low >>> 14) & 0x7f) | 0x80
    bytes[at + 3] = (low >>> 21) | 0x80
    at += 4
    low = high
  }
  while (low > 0x7f) {
    bytes[at++] = (low & 0x7f) | 0x80
    low >>>= 7
  }
  bytes[at++] = low
  target.end = at
}

export function writeDouble(target: ByteTarget, value: number): void {
  target.view.setFloat64(target.end, value, true)
  target.end += 8
}

export function writeByte(target: ByteTarget, value: number): void {
  target.bytes[target.end++] = value
}

/** The bytes in [start, end) of `from`. */
export function writeBytes(target: ByteTarget, from: Uint8Array, start: number, end: number): void {
  const { bytes } = target
  const at = target.end
  const length = end - start
  // A call into native code costs more than copying a few bytes here.
  if (length > 64) bytes.set(from.subarray(start, end), at)
  else for (let i = 0; i < length; i++) bytes[at + i] = from[start + i]!
  target.end = at + length
}

/** Avro's string, with its length. Makes room for itself. */
export function writeText(target: ByteTarget, text: string): void {
  const length = Buffer.byteLength(text)
  reserve(target, length + longBytesMax)
  writeLong(target, length)
  target.end += target.bytes.write(text, target.end)
}

/** What `write` writes, for what is the same in many records. */
export function bytesOf(write: (target: ByteTarget) => void): Buffer {
  const target = createByteTarget(64)
  write(target)
  return Buffer.from(target.bytes.subarray(0, target.end))
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
