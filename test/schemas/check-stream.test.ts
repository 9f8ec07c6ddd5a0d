import { describe, expect, test } from 'vitest'
import { flag, integer, number, text, timestamp } from '../../schemas/definition/definition.ts'
import { durations, identifiers, loose, mistakes, orderSpecs, withField, withStream } from './mistakes.ts'
import { orders, sound } from './shop-definition.ts'

describe('streams', () => {
  const deadLetters = 'letters, digits, dots, dashes and underscores'
  const streamNames = `a name of ${deadLetters} that begins with a letter, at most 128`
  const topics = `a topic of ${deadLetters} that begins with a letter or digit, at most 128`

  test.each(['3ds', 'my orders', '.orders', '-', 'o'.repeat(129)])('name %s', (name) => {
    expect(withStream({ topic: 'raw' }, name)).toEqual([
      `streams.${name}: expected ${streamNames}, received ${name.length > 120 ? `${name.slice(0, 120)}… (129 characters)` : name}`,
    ])
  })

  test('no name and no topic', () => {
    expect(withStream({}, null)).toEqual([
      `streams.null: expected ${streamNames}, received null`,
      `streams.null.topic: expected ${topics}, received null`,
    ])
  })

  test.each(['my topic', '_orders', 'orders/raw', ''])('topic %j', (topic) => {
    expect(withStream({ topic })).toEqual([
      `streams.orders.topic: expected ${topics}, received ${topic === '' ? 'an empty text' : topic}`,
    ])
  })

  test.each([
    ['id', 'amount', 'a text field', 'amount, which is number'],
    ['id', 'orderNo', 'the name of a text field', 'orderNo'],
    ['id', 'toString', 'the name of a text field', 'toString'],
    ['id', undefined, 'the name of a text field', 'nothing'],
    ['time', 'buyerId', 'a timestamp field', 'buyerId, which is text'],
    ['time', 'amount', 'a timestamp field', 'amount, which is number'],
    ['time', 'sentAt', 'a field that is never missing', 'sentAt, which is optional'],
    ['time', null, 'the name of a timestamp field', 'null'],
  ])('%s: %s', (role, field, expected, received) => {
    expect(withStream({ [role]: field })).toEqual([
      `streams.orders.${role}: expected ${expected}, received ${received}`,
    ])
  })

  test('a key that may be missing', () => {
    expect(withStream({ key: 'note' })).toEqual([
      'streams.orders.key: expected a field that is never missing, received note, which is optional',
      'features: expected an aggregate by an entity keyed in orders by note, the Kafka key of its topic, ' +
        'received buyer with buyerId',
    ])
  })

  test.each(['disorder', 'lateness', 'ahead'])('%s that is no duration', (role) => {
    expect(withStream({ [role]: '5 minutes' })).toEqual([
      `streams.orders.${role}: expected ${durations}, received 5 minutes`,
    ])
    expect(withStream({ [role]: 5 })).toEqual([`streams.orders.${role}: expected ${durations}, received 5`])
  })

  test('texts that could make an event larger than a record', () => {
    const notes = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`note${i}`, text({ lengthMax: 65_536 })]))
    expect(withStream({ fields: { ...orderSpecs, ...notes(3) } })).toEqual([])
    expect(withStream({ fields: { ...orderSpecs, ...notes(4) } })).toEqual([
      expect.stringMatching(
        /^streams\.orders\.fields: expected texts so short that .* at most 900000 bytes, .*, received 98\d{4} bytes$/,
      ),
    ])
  })

  test('rekey that is no flag', () => {
    expect(withStream({ rekey: 'yes' })).toEqual(['streams.orders.rekey: expected true or false, received yes'])
    expect(withStream({ rekey: true })).toEqual([])
  })

  test('more disorder than lateness', () => {
    expect(withStream({ disorder: '25h' })).toEqual([
      'streams.orders.disorder: expected at most lateness (1d), received 25h',
    ])
    expect(withStream({ disorder: '24h' })).toEqual([])
  })

  test('no options, no fields', () => {
    const all = [
      'streams.orders.fields: expected the fields of the stream by name, received nothing',
      'entities.buyer.keys[0]: expected a text field of a stream, received nothing',
      'entities.buyer: expected a key field of the scored stream orders, received no key',
      'features.count.by: expected an entity with a key field of orders, received buyer',
    ]
    expect(withStream({ fields: undefined })).toEqual([
      ...all,
      'features: expected an aggregate by an entity keyed in orders by buyerId, the Kafka key of its topic, ' +
        'received buyer with no key',
    ])
    const bare = loose.stream('orders')
    expect(mistakes({ label: { ...sound.label, from: bare } })).toContain(
      'streams.orders: expected one value of this name, used everywhere, received two different values',
    )
  })
})

describe('fields', () => {
  const path = 'streams.orders.fields.extra'
  const kinds = 'text(), number(), integer(), timestamp() or flag()'

  test.each([
    [undefined, 'nothing'],
    [null, 'null'],
    ['text', 'text'],
    [text, 'a function'],
    [{ kind: 'date', optional: false }, '{"kind":"date","optional":false}'],
    [orders.fields.amount, 'the field orders.amount'],
  ])('declared as %s', (spec, received) => {
    expect(withField(spec)).toEqual([`${path}: expected ${kinds}, received ${received}`])
  })

  test.each(['per-piece', '1st', 'größe', '', 'a'.repeat(65), 'constructor', 'toString'])('named %j', (name) => {
    expect(withStream({ fields: { ...orderSpecs, [name]: number() } })).toEqual([
      `streams.orders.fields.${name}: expected ${identifiers}, received ${name === '' ? 'an empty text' : name}`,
    ])
  })

  test('named __proto__', () => {
    const fields = { ...orderSpecs }
    Object.defineProperty(fields, '__proto__', { value: number(), enumerable: true })
    expect(withStream({ fields })).toEqual([
      `streams.orders.fields.__proto__: expected ${identifiers}, received __proto__`,
    ])
  })

  test.each([
    ['min > max', number({ min: 2, max: 1 }), 'min', '<= max (1)', '2'],
    ['min > max', integer({ min: 0, max: -1 }), 'min', '<= max (-1)', '0'],
    ['min', number({ min: Number.NaN }), 'min', 'a finite number', 'NaN'],
    ['min', number({ min: '0' as never }), 'min', 'a finite number', '0'],
    ['max', integer({ max: Number.POSITIVE_INFINITY }), 'max', 'a finite number', 'Infinity'],
    ['decimals', number({ decimals: 10 }), 'decimals', 'a whole number from 0 to 9', '10'],
    ['decimals', number({ decimals: -1 }), 'decimals', 'a whole number from 0 to 9', '-1'],
    ['decimals', number({ decimals: 0.5 }), 'decimals', 'a whole number from 0 to 9', '0.5'],
    ['lengthMax', text({ lengthMax: 0 }), 'lengthMax', 'a whole number from 1 to 65536', '0'],
    ['lengthMax', text({ lengthMax: 65_537 }), 'lengthMax', 'a whole number from 1 to 65536', '65537'],
    ['lengthMax', text({ lengthMax: undefined as never }), 'lengthMax', 'a whole number from 1 to 65536', 'nothing'],
    ['no whole number', integer({ min: 0.2, max: 0.8 }), '', 'a range that holds a value', 'min 0.2, max 0.8'],
    ['beyond whole numbers', integer({ min: 1e16 }), '', 'a range that holds a value', 'min 10000000000000000'],
    [
      'no decimal',
      number({ min: 1.01, max: 1.02, decimals: 1 }),
      '',
      'a range that holds a value',
      'min 1.01, max 1.02, decimals 1',
    ],
    ['optional', flag({ optional: 'yes' as never }), 'optional', 'true or false', 'yes'],
    [
      'decimals of an integer',
      integer({ decimals: 2 } as never),
      'decimals',
      'an option of integer(): optional, min or max',
      '2',
    ],
    ['min of a text', text({ min: 1 } as never), 'min', 'an option of text(): optional or lengthMax', '1'],
    [
      'max of a timestamp',
      timestamp({ max: 1 } as never),
      'max',
      'an option of timestamp(): optional, from or until',
      '1',
    ],
    [
      'a misspelt option',
      number({ mni: 0 } as never),
      'mni',
      'an option of number(): optional, min, max or decimals; the nearest is min',
      '0',
    ],
  ])('%s', (_, spec, option, expected, received) => {
    expect(withField(spec)).toEqual([`${path}${option && `.${option}`}: expected ${expected}, received ${received}`])
  })
})

test('limits that are not exact in binary hold their own value', () => {
  for (const limit of [1.1, 0.3, -1.1, 4.35, 8.7, 1.005]) {
    expect(withField(number({ min: limit, max: limit, decimals: 3 }))).toEqual([])
  }
})
