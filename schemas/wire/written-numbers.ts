/**
 * The bytes of a JSON object that `JSON.parse` has read in, its numbers as they are written out: the parser has rounded them, and a message
 * shows what came. Called for events that are rejected.
 */
import { eachMember } from './repeated-members.ts'

const numberHere = /^\s*(-?\d[\d.eE+-]*)/
/** Longer than any number that a message shows whole. */
const numberBytesMax = 512

/** By name, of the object's own members. */
export function writtenNumbers(bytes: Buffer): ReadonlyMap<string, string> {
  const numbers = new Map<string, string>()
  eachMember(bytes, (name, valueAt) => {
    const number = numberHere.exec(bytes.subarray(valueAt, valueAt + numberBytesMax).toString('latin1'))?.[1]
    if (number !== undefined) numbers.set(name, number)
  })
  return numbers
}
