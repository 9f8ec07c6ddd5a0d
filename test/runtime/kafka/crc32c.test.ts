import { describe, expect, test } from 'vitest'
import { crc32c, crc32cOf } from '../../../runtime/kafka/crc32c.ts'

/** One bit after the other, as the definition has it. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}

describe('crc32c', () => {
  test.each([
    ['nothing', Buffer.alloc(0), 0],
    ['the check value of the standard', Buffer.from('123456789'), 0xe3069283],
    ['32 zeros (RFC 3720)', Buffer.alloc(32), 0x8a9136aa],
    ['32 times 255 (RFC 3720)', Buffer.alloc(32, 255), 0x62a8ab43],
    ['0 to 31 (RFC 3720)', Buffer.from([...Array(32).keys()]), 0x46dd794e],
  ])('of %s', (_, bytes, expected) => {
    expect(crc32c(bytes, 0, bytes.length)).toBe(expected)
  })

  test('of every length and start equals the definition', () => {
    const bytes = Buffer.from(Array.from({ length: 64 }, (_, at) => (at * 151 + 7) & 0xff))
    for (let from = 0; from < 9; from++) {
      for (let to = from; to <= bytes.length; to++) {
        expect([from, to, crc32c(bytes, from, to)]).toEqual([from, to, slowCrc32c(bytes.subarray(from, to))])
      }
    }
  })

  test('of long ranges is the same by the processor and without it', () => {
    const bytes = Buffer.from(Array.from({ length: 20_000 }, (_, at) => (at * 2_654_435_761) >>> 24))
    for (const [from, to] of [
      [0, 20_000],
      [1, 1_025],
      [3, 1_026],
      [7, 19_999],
    ] as const) {
      expect(crc32c(bytes, from, to)).toBe(crc32cOf(bytes, from, to))
      expect(crc32cOf(bytes, from, to)).toBe(slowCrc32c(bytes.subarray(from, to)))
    }
  })
})
