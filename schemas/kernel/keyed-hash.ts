/**
 * Bytes or text in, 64 bits out that nobody can foresee without the key: SipHash-1-3 (Aumasson and Bernstein), in 32-bit arithmetic. Who
 * could choose ids with one hash could make one payment look like a repeat of another. Called for each event by `fact-row.ts`, and by
 * whatever looks for an event by its id.
 *
 * A hash is of a stream and an id: the id's UTF-8 and one byte of the stream, so that ids of two streams never meet. The last hash lies in
 * `low` and `high`, as integers of 32 bits with sign: nothing is allocated for a hash.
 */
import assert from 'node:assert/strict'

/** 16 bytes; one a pipeline, kept in its topic of schemas (`runtime/hash-key-log.ts`). */
export type HashKey = Uint8Array

export const hashKeyBytes = 16

/** For what is kept nowhere and compared with nothing of another process: replays, and tests. */
export const fixedHashKey: HashKey = Uint8Array.from({ length: hashKeyBytes }, (_, index) => index)

/** A key with room for a message and its hash. Not shared between threads. */
export interface KeyedHash {
  /** The key as four little-endian words. */
  readonly key: Int32Array
  /** The message, a multiple of eight bytes long. */
  bytes: Uint8Array
  /** The same memory. */
  words: Int32Array
  low: number
  high: number
}

const roomBytes = 256
const encoder = new TextEncoder()

export function createKeyedHash(key: HashKey): KeyedHash {
  assert(key.length === hashKeyBytes, `a key of hashes has ${hashKeyBytes} bytes, not ${key.length}`)
  const words = new Int32Array(hashKeyBytes / 4)
  new Uint8Array(words.buffer).set(key)
  const message = new Int32Array(roomBytes / 4)
  return { key: words, bytes: new Uint8Array(message.buffer), words: message, low: 0, high: 0 }
}

/** Of the id whose UTF-8 lies in `bytes` from `from` to `to` (exclusive). */
export function hashIdBytes(hash: KeyedHash, stream: number, bytes: Uint8Array, from: number, to: number): void {
  const length = to - from
  requireRoom(hash, length + 1)
  const message = hash.bytes
  for (let index = 0; index < length; index++) message[index] = bytes[from + index]!
  message[length] = stream
  hashMessage(hash, length + 1)
}

/** The same for the same id as text. */
export function hashIdText(hash: KeyedHash, stream: number, text: string): void {
  const length = writeText(hash, 0, text)
  requireRoom(hash, length + 1)
  hash.bytes[length] = stream
  hashMessage(hash, length + 1)
}

/** Writes the text's UTF-8 into the message, and returns where it ends. */
export function writeText(hash: KeyedHash, at: number, text: string): number {
  const { length } = text
  // A UTF-16 unit is at most three bytes.
  requireRoom(hash, at + 3 * length + 1)
  const { bytes } = hash
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) return at + encoder.encodeInto(text, bytes.subarray(at)).written
    bytes[at + index] = unit
  }
  return at + length
}

/** Room for a message of so many bytes and what ends it; what was written stays. */
export function requireRoom(hash: KeyedHash, length: number): void {
  if (length + 8 <= hash.bytes.length) return
  const words = new Int32Array((length >>> 1) + 4)
  words.set(hash.words)
  hash.words = words
  hash.bytes = new Uint8Array(words.buffer)
}

/** Hashes the first `length` bytes of the message. The 64-bit words of the algorithm are pairs of 32-bit ones: `a` low, `A` high. */
export function hashMessage(hash: KeyedHash, length: number): void {
  const { key, words, bytes } = hash
  const end = length & ~7
  for (let index = length; index < end + 7; index++) bytes[index] = 0
  bytes[end + 7] = length
  const blocks = (end >>> 3) + 1
  let a = key[0]! ^ 0x70736575
  let A = key[1]! ^ 0x736f6d65
  let b = key[2]! ^ 0x6e646f6d
  let B = key[3]! ^ 0x646f7261
  let c = key[0]! ^ 0x6e657261
  let C = key[1]! ^ 0x6c796765
  let d = key[2]! ^ 0x79746573
  let D = key[3]! ^ 0x74656462
  // One round a block, and three rounds more at the end.
  for (let round = 0; round < blocks + 3; round++) {
    const isBlock = round < blocks
    const low = isBlock ? words[round * 2]! : 0
    const high = isBlock ? words[round * 2 + 1]! : 0
    if (round === blocks) c ^= 0xff
    d ^= low
    D ^= high
    let sum = (a + b) | 0
    A = (A + B + (((a & b) | ((a | b) & ~sum)) >>> 31)) | 0
    a = sum
    let turned = (b << 13) | (B >>> 19)
    B = ((B << 13) | (b >>> 19)) ^ A
    b = turned ^ a
    turned = a
    a = A
    A = turned
    sum = (c + d) | 0
    C = (C + D + (((c & d) | ((c | d) & ~sum)) >>> 31)) | 0
    c = sum
    turned = (d << 16) | (D >>> 16)
    D = ((D << 16) | (d >>> 16)) ^ C
    d = turned ^ c
    sum = (a + d) | 0
    A = (A + D + (((a & d) | ((a | d) & ~sum)) >>> 31)) | 0
    a = sum
    turned = (d << 21) | (D >>> 11)
    D = ((D << 21) | (d >>> 11)) ^ A
    d = turned ^ a
    sum = (c + b) | 0
    C = (C + B + (((c & b) | ((c | b) & ~sum)) >>> 31)) | 0
    c = sum
    turned = (b << 17) | (B >>> 15)
    B = ((B << 17) | (b >>> 15)) ^ C
    b = turned ^ c
    turned = c
    c = C
    C = turned
    a ^= low
    A ^= high
  }
  hash.low = a ^ b ^ c ^ d
  hash.high = A ^ B ^ C ^ D
}

/** 16 hexadecimal digits that tell one key from another and do not give it away. */
export function hashKeyName(key: HashKey): string {
  const hash = createKeyedHash(key)
  hashMessage(hash, writeText(hash, 0, 'name of a key of hashes'))
  return [hash.high, hash.low].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
}
