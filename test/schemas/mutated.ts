/** Bytes that a decoder may meet: those of a record with a bit, a byte less or more, or a number written longer than it must be. */
import type { Random } from '../../testing/random.ts'

/** Writes into `bytes`. */
export function mutated(bytes: Buffer, random: Random): Buffer {
  const at = random.below(bytes.length)
  switch (random.below(5)) {
    case 0:
      bytes[at] = bytes[at]! ^ (1 << random.below(8))
      return bytes
    case 1:
      return bytes.subarray(0, at)
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([random.below(256)]), bytes.subarray(at)])
    case 3:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from([bytes[at]! | 0x80, ...new Array(random.below(12)).fill(0x80), 0]),
        bytes.subarray(at + 1),
      ])
    default:
      return bytes
  }
}
