import avro from 'avsc'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createSingleObjectCodec } from '../../schemas/wire/single-object.ts'

const seed = 20260815
const headerBytes = 10
const codec = createSingleObjectCodec(
  new Map([
    [
      'numbers',
      {
        type: 'record',
        name: 'numbers',
        fields: [
          { name: 'plain', type: 'long' },
          { name: 'time', type: { type: 'long', logicalType: 'timestamp-millis' } },
          { name: 'maybe', type: ['null', 'long'] },
          { name: 'list', type: { type: 'array', items: 'long' } },
        ],
      },
    ],
  ]),
)

/** The specification's zigzag and base-128 encoding, with integers of unlimited size. */
function encoded(value: number): Buffer {
  const wide = BigInt(value)
  let rest = wide >= 0n ? 2n * wide : -2n * wide - 1n
  const bytes: number[] = []
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  return Buffer.from([...bytes, Number(rest)])
}

function expectThereAndBack(value: number) {
  const bytes = codec.encode('numbers', { plain: value, time: value, maybe: value, list: [value, value] })
  const one = encoded(value)
  const expected = [one, one, Buffer.from([2]), one, Buffer.from([4]), one, one, Buffer.from([0])]
  expect(bytes.subarray(headerBytes)).toEqual(Buffer.concat(expected))
  const { record } = codec.decode(bytes)!
  expect({ ...record }).toEqual({ plain: value, time: value, maybe: value, list: [value, value] })
}

/** Bytes of a record whose first number is `hex`. */
const withPlain = (hex: string) =>
  Buffer.concat([
    codec.encode('numbers', { plain: 0, time: 0, maybe: null, list: [] }).subarray(0, headerBytes),
    Buffer.from(`${hex}000000`, 'hex'),
  ])

describe('whole numbers in Avro', () => {
  test('at every power of two, and one beside it, on both sides of zero', () => {
    for (let power = 0; power <= 53; power++) {
      for (const near of [-1, 0, 1]) {
        const value = 2 ** power + near
        if (!Number.isSafeInteger(value)) continue
        expectThereAndBack(value)
        expectThereAndBack(0 - value)
      }
    }
    expectThereAndBack(Number.MAX_SAFE_INTEGER)
    expectThereAndBack(Number.MIN_SAFE_INTEGER)
  })

  test('of any size', () => {
    fc.assert(
      fc.property(fc.oneof(fc.maxSafeInteger(), fc.integer()), (value) => expectThereAndBack(value)),
      { seed, numRuns: 2_000 },
    )
  })

  test('need this type: avsc turns the sign of the largest negative ones', () => {
    const own = avro.Type.forSchema('long')
    expect(own.fromBuffer(encoded(-(2 ** 52) - 1))).toBe(2 ** 52)
  })

  test.each([
    ['2^53', encoded(2 ** 53).toString('hex')],
    ['-2^53', encoded(-(2 ** 53)).toString('hex')],
    ['2^63 - 1', 'feffffffffffffffff01'],
    ['-2^63', 'ffffffffffffffffff01'],
    ['eleven bytes', '8080808080808080808000'],
    ['a hundred bytes', `${'80'.repeat(99)}00`],
  ])('are refused: %s', (_, hex) => {
    expect(() => codec.decode(withPlain(hex))).toThrow('a whole number is beyond 2^53')
  })

  test('may be written longer than need be', () => {
    expect(codec.decode(withPlain('8a80808000'))!.record.plain).toBe(5)
    expect(codec.decode(withPlain('8a00'))!.record.plain).toBe(5)
    expect(codec.decode(withPlain('ffffffff808000'))!.record.plain).toBe(-(2 ** 27))
  })

  test.each([1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', null, undefined, 1n])(
    'do not take %s',
    (value) => {
      expect(() => codec.encode('numbers', { plain: value, time: 0, maybe: null, list: [] })).toThrow(
        `invalid "long": ${value}`,
      )
    },
  )
})
