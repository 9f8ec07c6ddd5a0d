/**
 * Avro's `long` for every whole number that a double holds exactly. Handed to avsc by `avro-types.ts`. Its own type goes through
 * 2 × |n| − 1 in doubles, so that −(2^52 + 1) would come back as +2^52, silently, on either way.
 */
import avro from 'avsc'
import { showValue } from '../kernel/show-value.ts'

/** Where avsc reads and writes: it grows `position` past the end of `buf` where bytes are lacking, and sees to that itself. */
interface Tap {
  readonly buf: Uint8Array
  pos: number
}

/** Bits 0 to 27 and the rest, so that everything but the last sum is arithmetic of 32-bit integers. */
const lowBits = 28
const halfLow = 2 ** (lowBits - 1)
/** Sixty-four bits in groups of seven. */
const bytesMax = 10

export function readLong(tap: Tap): number {
  const { buf } = tap
  let byte = 0
  let low = 0
  let bits = 0
  do {
    byte = buf[tap.pos++] ?? 0
    low |= (byte & 0x7f) << bits
    bits += 7
  } while (byte & 0x80 && bits < lowBits)
  if (!(byte & 0x80)) return (low >>> 1) ^ -(low & 1)
  let high = 0
  let weight = 1
  do {
    byte = buf[tap.pos++] ?? 0
    high += (byte & 0x7f) * weight
    weight *= 128
    bits += 7
  } while (byte & 0x80 && bits < 7 * bytesMax)
  const magnitude = high * halfLow + (low >>> 1)
  const value = low & 1 ? -magnitude - 1 : magnitude
  if (byte & 0x80 || !Number.isSafeInteger(value)) throw new Error('a whole number is beyond 2^53')
  return value
}

function writeLong(tap: Tap, value: unknown): void {
  if (!Number.isSafeInteger(value)) throw new Error(`invalid "long": ${showValue(value)}`)
  const isNegative = (value as number) < 0
  const magnitude = isNegative ? -(value as number) - 1 : (value as number)
  const high = Math.floor(magnitude / halfLow)
  let low = ((magnitude % halfLow) << 1) | (isNegative ? 1 : 0)
  const { buf } = tap
  if (high > 0) {
    for (let bits = 0; bits < lowBits; bits += 7) {
      buf[tap.pos++] = (low & 0x7f) | 0x80
      low >>>= 7
    }
    low = high
  }
  while (low > 0x7f) {
    buf[tap.pos++] = (low & 0x7f) | 0x80
    low >>>= 7
  }
  buf[tap.pos++] = low
}

/** A type's own methods, which its typings leave out; its objects are frozen, so this one inherits from another. */
export const exactLong: avro.Type = Object.create(new avro.types.LongType(), {
  _read: { value: readLong },
  _write: { value: writeLong },
  _check: { value: (value: unknown) => Number.isSafeInteger(value) },
})
