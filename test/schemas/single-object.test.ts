import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { avroFingerprint, isSingleObject } from '../../schemas/wire/avro-fingerprint.ts'
import { createSingleObjectCodec, decodeOwn } from '../../schemas/wire/single-object.ts'

const point = { type: 'record', name: 'point', namespace: 'here', fields: [{ name: 'x', type: 'long' }] }
const label = { type: 'record', name: 'label', namespace: 'here', fields: [{ name: 'text', type: 'string' }] }
const codec = createSingleObjectCodec(
  new Map([
    ['point', point],
    ['label', label],
  ]),
)

describe('CRC-64-AVRO', () => {
  /** From the Avro specification's schema tests; the last three by two other implementations. */
  test.each([
    ['"null"', '63dd24e7cc258f8a'],
    ['"boolean"', '9f42fc78a4d4f764'],
    ['"int"', '7275d51a3f395c8f'],
    ['"long"', 'd054e14493f41db7'],
    ['"float"', '4d7c02cb3ea8d790'],
    ['"double"', '8e7535c032ab957e'],
    ['"bytes"', '4fc016dac3201965'],
    ['"string"', '8f014872634503c7'],
    ['[]', 'eec6e173d23fb9d1'],
    ['{"type":"array","items":"int"}', '522b814fc963b4be'],
    ['{"name":"a.b.Foo","type":"record","fields":[{"name":"x","type":"boolean"}]}', '0bb46d06a1867830'],
  ])('of %s', (canonicalForm, expected) => {
    expect(avroFingerprint(canonicalForm).toString(16).padStart(16, '0')).toBe(expected)
  })

  test('of nothing is the seed', () => {
    expect(avroFingerprint('').toString(16)).toBe('c15d213aa4d7a795')
  })

  test('is taken of UTF-8 bytes', () => {
    expect(avroFingerprint('é')).not.toBe(avroFingerprint('\u00c3'))
    expect(avroFingerprint('"é"').toString(16).padStart(16, '0')).toBe('afa7005bb91e36d9')
  })
})

describe('the header', () => {
  test('is the marker and the fingerprint, lowest byte first', () => {
    const bytes = codec.encode('point', { x: 3 })
    const canonical = '{"name":"here.point","type":"record","fields":[{"name":"x","type":"long"}]}'
    const fingerprint = Buffer.alloc(8)
    fingerprint.writeBigUInt64LE(avroFingerprint(canonical))
    expect(bytes).toEqual(Buffer.concat([Buffer.from('c301', 'hex'), fingerprint, Buffer.from([6])]))
  })

  test('of every card fraud record is what another implementation takes of the committed schema', () => {
    // fastavro 1.13: fingerprint(to_parsing_canonical_form(schema), 'CRC-64-AVRO') of schemas/card-fraud/raw.transactions.avsc
    const { scored } = compile(cardFraud)
    const event = { txId: 't', customerId: 'c', terminalId: 'm', amount: 1, at: 0 }
    expect(scored.codec.encode(event).subarray(0, 10).toString('hex')).toBe('c30193fdd64ff43cfa98')
  })
})

describe('records', () => {
  test('of several schemas are distinguished by fingerprint', () => {
    expect(codec.decode(codec.encode('point', { x: -7 }))).toEqual({ name: 'point', record: { x: -7 } })
    expect(codec.decode(codec.encode('label', { text: 'é' }))).toEqual({ name: 'label', record: { text: 'é' } })
  })

  test('do not share memory, however many are encoded', () => {
    const first = codec.encode('label', { text: 'first' })
    codec.encode('label', { text: 'other' })
    expect(codec.decode(first)!.record).toEqual({ text: 'first' })
  })

  test.each([4_085, 4_086, 4_087, 10_000, 1_000_000])('of %d characters outgrow the first buffer', (length) => {
    const text = 'x'.repeat(length)
    expect(codec.decode(codec.encode('label', { text }))!.record).toEqual({ text })
    expect(codec.decode(codec.encode('point', { x: 1 }))!.record).toEqual({ x: 1 })
  })

  test('whole numbers beyond 2^53 are rejected on both ways', () => {
    expect(() => codec.encode('point', { x: 2 ** 53 })).toThrow('invalid "long": 9007199254740992')
    const bytes = Buffer.concat([
      codec.encode('point', { x: 0 }).subarray(0, 10),
      Buffer.from('80808080808080808001', 'hex'),
    ])
    expect(() => codec.decode(bytes)).toThrow('a whole number is beyond 2^53')
  })

  test('of other shape are rejected on writing', () => {
    expect(() => codec.encode('point', { x: 'three' })).toThrow('invalid "long": three')
    expect(() => codec.encode('point', {})).toThrow('invalid "long": undefined')
  })

  test('that are cut short or too long are rejected', () => {
    const bytes = codec.encode('label', { text: 'abc' })
    for (let length = 2; length < bytes.length; length++) {
      expect(() => codec.decode(bytes.subarray(0, length)), `${length} bytes`).toThrow('the record is cut short')
    }
    expect(() => codec.decode(Buffer.concat([bytes, Buffer.alloc(2)]))).toThrow(
      '2 bytes are left over after the record',
    )
  })

  test('of unknown schemas are nothing, and so is what has no marker', () => {
    const bytes = codec.encode('point', { x: 1 })
    for (let at = 2; at < 10; at++) {
      const other = Buffer.from(bytes)
      other[at]! ^= 1
      expect(codec.decode(other), `byte ${at}`).toBeNull()
    }
    expect(codec.decode(Buffer.from('{"x":1}'))).toBeNull()
    expect(codec.decode(Buffer.alloc(0))).toBeNull()
    expect(codec.decode(Buffer.from([0xc3]))).toBeNull()
  })

  test('are recognised by two bytes', () => {
    expect(isSingleObject(Buffer.from('c301', 'hex'))).toBe(true)
    expect(isSingleObject(Buffer.from('c3', 'hex'))).toBe(false)
    expect(isSingleObject(Buffer.from('c302', 'hex'))).toBe(false)
    expect(isSingleObject(Buffer.from('é'))).toBe(false)
  })
})

describe('own topics', () => {
  test('an unreadable record is a failure of the world', () => {
    const bytes = codec.encode('label', { text: 'abc' })
    expect(decodeOwn(codec, bytes, 'test').record).toEqual({ text: 'abc' })
    expect(() => decodeOwn(codec, bytes.subarray(0, 12), 'test')).toThrow(
      expect.objectContaining({
        code: 'record_unreadable',
        message: 'A test record could not be decoded: the record is cut short.',
        cause: expect.objectContaining({ message: 'the record is cut short' }),
      }),
    )
    expect(() => decodeOwn(codec, Buffer.from('{"text":"abc"}'), 'test')).toThrow(
      expect.objectContaining({
        code: 'record_unreadable',
        message: 'A test record is none: it begins with 7b2274657874223a2261.',
      }),
    )
  })
})
