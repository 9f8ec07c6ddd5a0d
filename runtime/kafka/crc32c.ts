/**
 * CRC-32C (Castagnoli) of a byte range: the checksum of record batches, for their encoder and decoder. Computed by the processor where
 * `@node-rs/crc32` has a binding for it, else eight bytes at a time.
 */
import { createRequire } from 'node:module'

/**
 * Eight tables of 256 entries one after the other ("slicing by 8"): table k advances a byte that has k more bytes
 * behind it.
 */
const tables = (() => {
  const built = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte
    for (let bit = 0; bit < 8; bit++) remainder = remainder & 1 ? (remainder >>> 1) ^ 0x82f63b78 : remainder >>> 1
    built[byte] = remainder
  }
  for (let at = 256; at < built.length; at++) {
    const shorter = built[at - 256]!
    built[at] = (shorter >>> 8) ^ built[shorter & 0xff]!
  }
  return built
})()

type Native = (bytes: Uint8Array) => number

/** Below this a call into native code costs more than it saves, bytes. */
const nativeFrom = 1_024

const native = nativeCrc32c()

/** Null where there is no binding, or one that cannot be loaded or gives another checksum: what is here is always right. */
function nativeCrc32c(): Native | null {
  try {
    const binding = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Native }
    return binding.crc32c(Buffer.from('123456789')) === 0xe3069283 ? binding.crc32c : null
  } catch {
    return null
  }
}

/** Checksum of `bytes[from..to)`, unsigned 32 bits. */
export function crc32c(bytes: Uint8Array, from: number, to: number): number {
  if (native !== null && to - from >= nativeFrom) return native(bytes.subarray(from, to))
  return crc32cOf(bytes, from, to)
}

/** In JavaScript alone. */
export function crc32cOf(bytes: Uint8Array, from: number, to: number): number {
  const table = tables
  let crc = -1
  let at = from
  for (const last = to - 7; at < last; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    crc =
      table[1792 + (low & 0xff)]! ^
      table[1536 + ((low >>> 8) & 0xff)]! ^
      table[1280 + ((low >>> 16) & 0xff)]! ^
      table[1024 + (low >>> 24)]! ^
      table[768 + bytes[at + 4]!]! ^
      table[512 + bytes[at + 5]!]! ^
      table[256 + bytes[at + 6]!]! ^
      table[bytes[at + 7]!]!
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ table[(crc ^ bytes[at]!) & 0xff]!
  return (crc ^ -1) >>> 0
}
