import { describe, expect, test } from 'vitest'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { avroOf, codec, expectedOf, type Field, fields, json, lines, sound, withText } from './order-codec.ts'

describe('a sound event', () => {
  test('in JSON and in Avro is the same', () => {
    expect(codec.decode(json(sound))).toEqual({ ok: true, event: sound })
    expect(codec.decode(codec.encode(sound))).toEqual({ ok: true, event: sound })
    expect(codec.check(sound)).toEqual({ ok: true, event: sound })
  })

  test('may lack what is optional', () => {
    const { id, amount, at } = sound
    const event = { id, amount, at, note: null, ratio: null, pieces: null, total: null, gift: null }
    expect(codec.decode(json({ id, amount, at }))).toEqual({ ok: true, event })
    expect(codec.decode(json(event))).toEqual({ ok: true, event })
    expect(codec.decode(codec.encode(event))).toEqual({ ok: true, event })
  })

  test('keeps declared fields only, in the order of the declaration', () => {
    const found = codec.decode(json({ extra: 1, ...sound, at: '2018-05-01T00:00:00Z', $schema: {} }))
    expect(JSON.stringify(found)).toBe(JSON.stringify({ ok: true, event: sound }))
  })

  test('may begin with a byte order mark', () => {
    expect(codec.decode(Buffer.concat([Buffer.from('efbbbf', 'hex'), json(sound)]))).toEqual({ ok: true, event: sound })
  })

  test('is not changed by being checked', () => {
    const given = Object.freeze({ ...sound, at: '2018-05-01T00:00:00Z' })
    expect(codec.check(given).ok).toBe(true)
    expect(given.at).toBe('2018-05-01T00:00:00Z')
  })
})

describe('the schema', () => {
  test('is a record of the declared fields, optional ones with null first', () => {
    const { schemas } = createEventCodec('orders', 'millrace.shop', fields.slice(0, 3).concat(fields.slice(6)))
    expect([...schemas]).toEqual([
      [
        'orders',
        {
          type: 'record',
          name: 'orders',
          namespace: 'millrace.shop',
          fields: [
            { name: 'id', type: 'string' },
            { name: 'note', type: ['null', 'string'], default: null },
            { name: 'ratio', type: ['null', 'double'], default: null },
            { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
            { name: 'gift', type: ['null', 'boolean'], default: null },
          ],
        },
      ],
    ])
  })
})

describe('bytes that are no event', () => {
  const notJson = 'a JSON object in UTF-8, an Avro single object or the Confluent wire format'
  test.each([
    ['a tombstone', null, ' empty: an event; a tombstone'],
    ['no bytes', Buffer.alloc(0), ' empty: an event; no bytes'],
    ['cut JSON', Buffer.from('{"id":'), ` not_json: ${notJson}; invalid JSON: Unexpected end of JSON input`],
    ['plain text', Buffer.from('abc'), ` not_json: ${notJson}; invalid JSON: Unexpected token 'a', "abc"`],
    [
      'invalid UTF-8',
      Buffer.from('7b22ff227d', 'hex'),
      ` not_json: ${notJson}; 0xff as byte 3 of 5, which is not UTF-8`,
    ],
    [
      'half a surrogate in UTF-8',
      Buffer.from('22eda0bd22', 'hex'),
      ` not_json: ${notJson}; 0xed as byte 2 of 5, which is not UTF-8`,
    ],
    ['an array', json([1]), ' type: an object with the fields of the event; one event at a time; [1]'],
    ['null', json(null), ' type: an object with the fields of the event; null'],
    ['a text', json('x'), ' type: an object with the fields of the event; "x"'],
    ['a number', json(7), ' type: an object with the fields of the event; 7'],
    [
      'another Avro schema',
      Buffer.from('c3010102030405060708ff', 'hex'),
      ' schema_unknown: Avro with a schema of orders; schema fingerprint 0102030405060708',
    ],
    [
      'half an Avro header',
      Buffer.from('c301010203', 'hex'),
      ' not_avro: one Avro record of orders; the record is cut short',
    ],
  ])('%s', (_, bytes, line) => {
    expect(lines(codec.decode(bytes))).toEqual([line])
  })

  test('Avro that is cut short or too long', () => {
    const bytes = codec.encode(sound)
    for (let length = 2; length < bytes.length; length++) {
      const [line] = lines(codec.decode(bytes.subarray(0, length)))
      expect(line, `${length} bytes`).toMatch(
        /^ not_avro: one Avro record of orders; (?:the record is cut short|invalid union index: \d+)$/,
      )
    }
    expect(lines(codec.decode(Buffer.concat([bytes, Buffer.from([0])])))).toEqual([
      ' not_avro: one Avro record of orders; 1 bytes are left over after the record',
    ])
  })

  test('Avro with an unknown branch, or a whole number beyond 2^53', () => {
    const header = codec.encode(sound).subarray(0, 10)
    expect(lines(codec.decode(Buffer.concat([header, Buffer.from('02610a', 'hex')])))).toEqual([
      ' not_avro: one Avro record of orders; invalid union index: 5',
    ])
    const only = createEventCodec('times', 'millrace.shop', [{ name: 'at', kind: 'timestamp', optional: false }])
    const long = Buffer.concat([only.encode({ at: 0 }).subarray(0, 10), Buffer.from('80808080808080808001', 'hex')])
    expect(lines(only.decode(long))).toEqual([' not_avro: one Avro record of times; a whole number is beyond 2^53'])
  })
})

describe('every fault of every field at once', () => {
  test('in JSON', () => {
    const bad = { note: '', ratio: '0.1', amount: -1, pieces: 6, total: 1.5, at: '2018-05-01', gift: 1 }
    expect(codec.decode(json(bad))).toEqual({
      ok: false,
      problems: [
        { path: '/id', code: 'missing', expected: expectedOf.id, received: 'nothing' },
        {
          path: '/note',
          code: 'length',
          expected: `${expectedOf.note}; null or no field stands for no value`,
          received: '""',
        },
        {
          path: '/ratio',
          code: 'type',
          expected: `${expectedOf.ratio}; this is a number in quotes`,
          received: '"0.1"',
        },
        { path: '/amount', code: 'range', expected: expectedOf.amount, received: '-1' },
        { path: '/pieces', code: 'range', expected: expectedOf.pieces, received: '6' },
        { path: '/total', code: 'type', expected: expectedOf.total, received: '1.5' },
        { path: '/at', code: 'type', expected: `${expectedOf.at}; this has no time of day`, received: '"2018-05-01"' },
        { path: '/gift', code: 'type', expected: expectedOf.gift, received: '1' },
      ],
    })
  })

  const maxSafe = Number.MAX_SAFE_INTEGER
  test.each<[Field, string, string, string, string?]>([
    // Field, its JSON text, code, what is shown, what is added to what was expected.
    ['id', 'null', 'missing', 'null'],
    ['id', '""', 'length', '""'],
    ['id', '"123456789"', 'length', '"123456789"'],
    ['id', '"🙂🙂🙂🙂🙂"', 'length', '"🙂🙂🙂🙂🙂"'],
    ['id', '5', 'type', '5', '; this is a number without quotes'],
    ['id', '"\\ud83d"', 'type', '"\\ud83d"'],
    ['id', '"\\udc00a"', 'type', '"\\udc00a"'],
    ['id', '"a\\ufffd"', 'type', '"a\ufffd"', '; U+FFFD stands for bytes that were not UTF-8'],
    ['id', '{"a":[1,{}]}', 'type', '{"a":[1,{}]}'],
    ['id', '["a"]', 'type', '["a"]'],
    ['amount', 'null', 'missing', 'null'],
    ['amount', '"12"', 'type', '"12"', '; this is a number in quotes'],
    ['amount', 'true', 'type', 'true'],
    ['amount', '[1]', 'type', '[1]'],
    ['amount', '1e400', 'type', '1e400'],
    ['amount', '-1e400', 'type', '-1e400'],
    ['amount', '-0.01', 'range', '-0.01'],
    ['amount', '0.001', 'decimals', '0.001'],
    ['amount', '12.345', 'decimals', '12.345'],
    ['amount', '0.30000000000000004', 'decimals', '0.30000000000000004'],
    ['ratio', '1e309', 'type', '1e309'],
    ['pieces', '-6', 'range', '-6'],
    ['pieces', '0.5', 'type', '0.5'],
    ['pieces', '"3"', 'type', '"3"', '; this is a number in quotes'],
    ['total', '9007199254740993', 'type', '9007199254740993'],
    ['total', '-9007199254740992', 'type', '-9007199254740992'],
    ['total', '1e300', 'type', '1e300'],
    ['at', 'null', 'missing', 'null'],
    ['at', 'true', 'type', 'true'],
    ['at', '1.5', 'type', '1.5'],
    ['at', '-1', 'range', '-1'],
    ['at', '253402300800000', 'range', '253402300800000'],
    ['at', '"1969-12-31T23:59:59.999Z"', 'range', '"1969-12-31T23:59:59.999Z"'],
    ['at', '"0000-01-01T00:00:00Z"', 'range', '"0000-01-01T00:00:00Z"'],
    ['at', '"9999-12-31T23:59:59.999-00:01"', 'range', '"9999-12-31T23:59:59.999-00:01"'],
    ['at', '"10000-01-01T00:00:00Z"', 'type', '"10000-01-01T00:00:00Z"'],
    ['at', '"2018-05-01T12:00:00"', 'type', '"2018-05-01T12:00:00"', '; this has no zone, such as Z or +02:00'],
    ['at', '"2018-02-30T00:00:00Z"', 'type', '"2018-02-30T00:00:00Z"', '; there is no such day or time'],
    ['at', '"1525132800000"', 'type', '"1525132800000"', '; this is a number in quotes'],
    ['gift', '0', 'type', '0'],
    ['gift', '"true"', 'type', '"true"', '; this is a flag in quotes'],
  ])('%s of %s', (field, text, code, received, hint = '') => {
    const expected = `${expectedOf[field]}${hint}`
    expect(codec.decode(withText(field, text))).toEqual({
      ok: false,
      problems: [{ path: `/${field}`, code, expected, received }],
    })
  })

  test.each<[Field, string, string | number]>([
    ['id', '"12345678"', '12345678'],
    ['id', '"🙂\\u0000"', '🙂\u0000'],
    ['amount', '90071992547409.91', 90_071_992_547_409.91],
    ['amount', '0.1', 0.1],
    ['amount', '1.005e2', 100.5],
    ['ratio', '1.7976931348623157e308', Number.MAX_VALUE],
    ['ratio', '5e-324', Number.MIN_VALUE],
    ['ratio', '1e-400', 0],
    ['total', '9007199254740991', maxSafe],
    ['total', '-9007199254740991', -maxSafe],
    ['at', '0', 0],
    ['at', '253402300799999', 253_402_300_799_999],
    ['at', '"1970-01-01T00:00:00Z"', 0],
    ['at', '"9999-12-31T23:59:59.999Z"', 253_402_300_799_999],
  ])('%s of %s is taken', (field, text, value) => {
    expect(codec.decode(withText(field, text))).toEqual({ ok: true, event: { ...sound, [field]: value } })
  })

  test.each<Field>(['amount', 'ratio', 'pieces', 'total', 'at'])('%s of -0 is 0', (field) => {
    for (const found of [codec.decode(withText(field, '-0')), codec.check({ ...sound, [field]: -0 })]) {
      expect(found.ok && Object.is(found.event[field], 0)).toBe(true)
    }
  })

  test('amounts beyond what cents can count exactly', () => {
    expect(lines(codec.decode(withText('amount', '90071992547409.92')))).toEqual([
      `/amount range: ${expectedOf.amount}, within ±90071992547409.9; 90071992547409.92`,
    ])
    expect(lines(codec.decode(withText('amount', '1e308')))).toEqual([
      `/amount range: ${expectedOf.amount}, within ±90071992547409.9; 1e308`,
    ])
  })

  test.each([
    ['ratio', Number.NaN, 'type', 'NaN'],
    ['ratio', Number.NEGATIVE_INFINITY, 'type', '-Infinity'],
    ['amount', Number.POSITIVE_INFINITY, 'type', 'Infinity'],
    ['amount', -0.01, 'range', '-0.01'],
    ['amount', 0.005, 'decimals', '0.005'],
    ['pieces', 6, 'range', '6'],
    ['at', -1, 'range', '-1'],
    ['at', 253_402_300_800_000, 'range', '253402300800000'],
    ['id', '', 'length', '""'],
    ['id', '123456789', 'length', '"123456789"'],
    ['note', '1.25 \n"x"', 'length', '"1.25 \\n\\"x\\""'],
  ] as const)('in Avro: %s of %s', (field, value, code, received) => {
    expect(codec.decode(avroOf({ [field]: value }))).toEqual({
      ok: false,
      problems: [{ path: `/${field}`, code, expected: expectedOf[field], received }],
    })
  })

  test('in Avro: text that is no UTF-8', () => {
    const bytes = avroOf({ id: 'abc' })
    bytes[bytes.indexOf('abc') + 1] = 0xff
    expect(lines(codec.decode(bytes))).toEqual([
      `/id type: ${expectedOf.id}; U+FFFD stands for bytes that were not UTF-8; "a\ufffdc"`,
    ])
  })
})
