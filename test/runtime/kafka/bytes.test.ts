import { describe, expect, test } from 'vitest'
import { createByteReader } from '../../../runtime/kafka/byte-reader.ts'
import { createByteWriter } from '../../../runtime/kafka/byte-writer.ts'

describe("Kafka's primitive types", () => {
  test('are written as the protocol lays them out', () => {
    const writer = createByteWriter(1)
    writer.int8(-1)
    writer.int16(258)
    writer.int32(-2)
    writer.int64(-3)
    writer.string('ü')
    writer.string(null)
    writer.compactString('ü')
    writer.compactString(null)
    writer.unsignedVarint(300)
    writer.byteString(Buffer.from([9]))
    writer.byteString(null)
    writer.array([1], (item) => writer.int8(item))
    writer.compactArray([1, 2], (item) => writer.int8(item))
    writer.noTags()
    expect(writer.bytes().toString('hex')).toBe(
      [
        'ff',
        '0102',
        'fffffffe',
        'fffffffffffffffd',
        '0002c3bc',
        'ffff',
        '03c3bc',
        '00',
        'ac02',
        '0000000109',
        'ffffffff',
        '0000000101',
        '030102',
        '00',
      ].join(''),
    )
    expect(writer.length()).toBe(writer.bytes().length)
  })

  test('are read back', () => {
    const numbers = [0, -1, 1, 2 ** 31, -(2 ** 31) - 1, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]
    const writer = createByteWriter()
    writer.array(numbers, (number) => writer.int64(number))
    for (const varint of [0, 127, 128, 16_383, 16_384, 2 ** 32 - 1]) writer.unsignedVarint(varint)
    writer.string('größe 🙂')
    writer.compactString('größe 🙂')
    writer.byteString(Buffer.from([0, 255]))
    writer.compactArray(['a', 'b'], (text) => writer.string(text))
    // Two tags of 0 and 3 bytes.
    for (const byte of [2, 0, 0, 7, 3, 1, 2, 3]) writer.int8(byte)
    const reader = createByteReader(writer.bytes())
    expect(reader.array(() => reader.int64())).toEqual(numbers)
    expect([1, 2, 3, 4, 5, 6].map(() => reader.unsignedVarint())).toEqual([0, 127, 128, 16_383, 16_384, 2 ** 32 - 1])
    expect(reader.text()).toBe('größe 🙂')
    expect(reader.compactString()).toBe('größe 🙂')
    expect(reader.byteString()).toEqual(Buffer.from([0, 255]))
    expect(reader.compactArray(() => reader.text())).toEqual(['a', 'b'])
    reader.skipTags()
    expect(reader.remaining()).toBe(0)
  })

  test('that end too early are an error, not a guess', () => {
    const reader = createByteReader(Buffer.from([0, 5, 65]))
    expect(() => reader.string()).toThrow('a Kafka response ends at byte 3, 5 more bytes were wanted at 2')
    expect(() => createByteReader(Buffer.from([255, 255, 255, 255, 255, 1])).unsignedVarint()).toThrow(
      'more than five bytes',
    )
    expect(() => createByteReader(Buffer.from('7fffffffffffffff', 'hex')).int64()).toThrow('beyond 2^53')
    expect(() => createByteWriter().int64(2 ** 53)).toThrow()
  })
})
