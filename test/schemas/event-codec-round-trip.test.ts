import avro from 'avsc'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { codec, expectedOf, type Field, fields, json, lines, problemsOf, sound } from './order-codec.ts'

const seed = 20260814

describe('Avro out and in', () => {
  const text = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 8 })
    .filter((given) => given.length <= 8 && !given.includes('\ufffd'))
  const bits = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0)
  const event = fc.record({
    id: text,
    note: fc.option(text),
    ratio: fc.option(bits),
    amount: fc.nat(1_000_000_000).map((cents) => cents / 100),
    pieces: fc.option(fc.integer({ min: -5, max: 5 })),
    total: fc.option(fc.maxSafeInteger()),
    at: fc.integer({ min: 0, max: 253_402_300_799_999 }),
    gift: fc.option(fc.boolean()),
  })

  test('is the same event to the bit', () => {
    fc.assert(
      fc.property(event, (given) => {
        const found = codec.decode(codec.encode(given))
        expect(found.ok).toBe(true)
        for (const { name } of fields) expect(Object.is(found.ok && found.event[name], given[name as Field])).toBe(true)
        expect(codec.decode(json(given))).toEqual(found)
      }),
      { seed, numRuns: 1_000 },
    )
  })

  test('is what another reader of the schema reads', () => {
    const type = avro.Type.forSchema(codec.schemas.get('orders') as avro.Schema)
    expect({ ...type.fromBuffer(codec.encode(sound).subarray(10)) }).toEqual(sound)
  })

  test('rejects to write what is no event', () => {
    expect(() => codec.encode({ ...sound, amount: null })).toThrow('invalid "double": null')
  })
})

describe('cells of a text file', () => {
  const cells = {
    id: 'a1',
    note: 'hi',
    ratio: '0.1',
    amount: '12.34',
    pieces: '3',
    total: '9',
    at: '1525132800000',
    gift: 'true',
  }
  const check = (change: object) => codec.check({ ...cells, ...change }, { fromText: true })

  test('are taken for the values that they spell', () => {
    expect(check({})).toEqual({ ok: true, event: sound })
    expect(check({ at: '2018-05-01T02:00:00+02:00' })).toEqual({ ok: true, event: sound })
  })

  test('stay text by default', () => {
    expect(problemsOf(codec.check(cells)).map(({ path }) => path)).toEqual([
      '/ratio',
      '/amount',
      '/pieces',
      '/total',
      '/at',
      '/gift',
    ])
  })

  test('are missing where empty', () => {
    expect(check({ note: '', ratio: '', pieces: '', total: '', gift: '' })).toEqual({
      ok: true,
      event: { ...sound, note: null, ratio: null, pieces: null, total: null, gift: null },
    })
    expect(lines(check({ id: '', amount: '', at: '' }))).toEqual([
      `/id length: ${expectedOf.id}; ""`,
      `/amount missing: ${expectedOf.amount}; nothing`,
      `/at missing: ${expectedOf.at}; nothing`,
    ])
  })

  test.each<[Field, string, string | number | boolean]>([
    ['amount', ' 12.5 ', 12.5],
    ['amount', '+5', 5],
    ['amount', '.5', 0.5],
    ['amount', '5.', 5],
    ['amount', '007', 7],
    ['amount', '1.5e3', 1_500],
    ['amount', '-0', 0],
    ['ratio', '-1E-3', -0.001],
    ['total', '1e3', 1_000],
    ['total', '9.0', 9],
    ['gift', '1', true],
    ['gift', '0', false],
    ['gift', 'false', false],
    ['id', '12', '12'],
    ['id', ' ', ' '],
  ])('%s: %j', (field, cell, value) => {
    expect(check({ [field]: cell })).toEqual({ ok: true, event: { ...sound, [field]: value } })
  })

  test.each<[Field, string, string, string?]>([
    ['amount', '12,5', 'type'],
    ['amount', '1_000', 'type'],
    ['amount', '0x10', 'type'],
    ['amount', '0b1', 'type'],
    ['amount', 'Infinity', 'type'],
    ['amount', 'NaN', 'type'],
    ['amount', 'null', 'type'],
    ['amount', '.', 'type'],
    ['amount', ' ', 'type'],
    ['amount', '1e', 'type'],
    ['amount', '1 2', 'type'],
    ['amount', '-1', 'range'],
    ['amount', '1.001', 'decimals'],
    ['total', '9007199254740993', 'type'],
    ['total', '1.5', 'type'],
    ['pieces', '6', 'range'],
    ['at', '12.5', 'type'],
    ['at', '-1', 'range'],
    ['at', '2018-05-01', 'type', '; this has no time of day'],
    ['at', '2018-05-01 12:00:00', 'type', '; this has no zone, such as Z or +02:00'],
    ['gift', 'TRUE', 'type'],
    ['gift', 'yes', 'type'],
  ])('%s: %j is refused, and shown as it is', (field, cell, code, hint = '') => {
    expect(problemsOf(check({ [field]: cell }))).toEqual([
      { path: `/${field}`, code, expected: `${expectedOf[field]}${hint}`, received: cell === ' ' ? '" "' : cell },
    ])
  })

  test('are what printing gives back', () => {
    const number = fc.double({ noNaN: true, noDefaultInfinity: true })
    fc.assert(
      fc.property(number, fc.maxSafeInteger(), (ratio, total) => {
        const found = check({ ratio: String(ratio), total: String(total) })
        expect(found).toEqual({ ok: true, event: { ...sound, ratio: ratio + 0, total: total + 0 } })
      }),
      { seed, numRuns: 1_000 },
    )
  })
})
