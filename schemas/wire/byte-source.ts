/**
 * Avro's primitives read in place, without an object a value: the counterpart of `byte-target.ts`, for records that come by the thousand.
 * What is wrong with bytes that cannot be read is found out by avsc.
 */

/** Where the next byte is read, shared by all readers so that nothing is allocated: −1 once something was wrong. */
export const reading = { at: 0 }

const double = new Float64Array(1)
const doubleBytes = new Uint8Array(double.buffer)

/** NaN, and nothing more can be read, where it is cut off. */
export function readDouble(bytes: Uint8Array, end: number): number {
  const { at } = reading
  if (at < 0 || at + 8 > end) {
    reading.at = -1
    return Number.NaN
  }
  for (let i = 0; i < 8; i++) doubleBytes[i] = bytes[at + i]!
  reading.at = at + 8
  return double[0]!
}

/** NaN, and nothing more can be read, where it is cut off or beyond 2^53 with its sign. */
export function readLong(bytes: Uint8Array, end: number): number {
  let { at } = reading
  if (at < 0 || at >= end) return failed()
  let byte = bytes[at++]!
  if (byte < 0x80) {
    reading.at = at
    return (byte >>> 1) ^ -(byte & 1)
  }
  let value = byte & 0x7f
  let weight = 128
  do {
    if (at >= end || weight > 2 ** 56) return failed()
    byte = bytes[at++]!
    value += (byte & 0x7f) * weight
    weight *= 128
  } while (byte >= 0x80)
  // Beyond 2^53 the sum is rounded, and its last bit is no sign.
  if (value > Number.MAX_SAFE_INTEGER) return failed()
  reading.at = at
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

function failed(): number {
  reading.at = -1
  return Number.NaN
}
