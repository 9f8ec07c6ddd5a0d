/**
 * The bytes of a JSON object that `JSON.parse` has read in, its numbers as they are written out: the parser has rounded them, and a message
 * shows what came. Called for events that are rejected.
 */
import { depthChange, endOfText } from './repeated-members.ts'

const quote = 0x22
const colon = 0x3a
const numberHere = /\s*(-?\d[\d.eE+-]*)/y
/** Longer than any number that a message shows whole. */
const numberBytesMax = 512

/** By name, of the object's own members. */
export function writtenNumbers(bytes: Buffer): ReadonlyMap<string, string> {
  const numbers = new Map<string, string>()
  let depth = 0
  let last: Uint8Array = bytes.subarray(0, 0)
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === quote) {
      const end = endOfText(bytes, at)
      last = bytes.subarray(at, end + 1)
      at = end
    } else if (byte === colon && depth === 1) {
      numberHere.lastIndex = 0
      const number = numberHere.exec(bytes.subarray(at + 1, at + 1 + numberBytesMax).toString('latin1'))?.[1]
      if (number !== undefined) numbers.set(JSON.parse(Buffer.from(last).toString()) as string, number)
    } else depth += depthChange(byte)
  }
  return numbers
}
