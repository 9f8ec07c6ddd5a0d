/** Predictions in the three formats: bit for bit there and back, mixed in one topic, and as their JSON schema says. */
import { Ajv } from 'ajv'
import formats from 'ajv-formats'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { avroType } from '../../schemas/wire/avro-types.ts'
import { createPredictionCodec } from '../../schemas/wire/prediction-codec.ts'
import { type PredictionFormat, predictionFormats } from '../../schemas/wire/prediction-format.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { createWriterSchemas } from '../../schemas/wire/writer-schemas.ts'
import { bitsOf } from '../../testing/index.ts'

const features = ['amount', 'count7d', 'mean7d'] as const

function codecOf(format: PredictionFormat, names: readonly string[] = features) {
  const writers = createWriterSchemas()
  const codec = createPredictionCodec({
    namespace: 'millrace.shop',
    topic: 'shop.predictions',
    features: names,
    format,
    writers,
  })
  // As the broker does before the first record.
  for (const { subject, schema, type } of writers.subjects.values()) {
    writers.assignId(subject, 7)
    if (type === 'AVRO') writers.learnId(7, avroType(schema))
  }
  return { codec, writers }
}

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const whole = fc.maxSafeNat()
const double = fc.double({ noNaN: true })
const finite = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(-0), fc.constant(5e-324))
const orMissing = fc.oneof(finite, fc.constant(Number.NaN))
const prediction: fc.Arbitrary<Prediction> = fc.record({
  id: text,
  time: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
  score: fc.option(finite),
  modelVersion: fc.option(text),
  features: fc.tuple(orMissing, orMissing, orMissing),
  fingerprint: text,
  origin: fc.record({ partition: fc.nat(1_023), offset: whole }),
  positions: fc.array(fc.record({ stage: text, partition: fc.nat(9), next: fc.array(whole, { maxLength: 3 }) }), {
    maxLength: 3,
  }),
  reasons: fc.array(fc.record({ feature: text, contribution: double }), { maxLength: 3 }),
  shadow: fc.array(fc.record({ version: text, score: finite }), { maxLength: 3 }),
})

/** All numbers as their bits, since equality takes -0 for 0. */
function bits({ features: vector, score, reasons, shadow, ...others }: Prediction) {
  const numbers = [...vector, score ?? Number.NaN, ...reasons.map((r) => r.contribution), ...shadow.map((s) => s.score)]
  return { ...others, hasScore: score !== null, bits: bitsOf(numbers) }
}

const example: Prediction = {
  id: 'o-1',
  time: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  score: 0.1 + 0.2,
  modelVersion: 'v3',
  features: [-0, Number.NaN, 1e21],
  fingerprint: 'f00d',
  origin: { partition: 2, offset: 41 },
  positions: [{ stage: 'user', partition: 1, next: [42, 7] }],
  reasons: [{ feature: 'amount', contribution: Number.NEGATIVE_INFINITY }],
  shadow: [{ version: 'v4', score: 0.5 }],
}

describe.each(predictionFormats)('as %s', (format) => {
  test('a prediction is read back bit for bit', () => {
    const { codec } = codecOf(format)
    const check = (given: Prediction): void => {
      expect(bits(codec.decode(codec.encode(given)))).toEqual(bits(given))
    }
    check(example)
    fc.assert(fc.property(prediction, check), { seed: 20260816, numRuns: 300 })
  })

  test('is read by a definition that writes another format, and by one of other features', () => {
    const bytes = codecOf(format).codec.encode(example)
    for (const other of predictionFormats) {
      const { codec, writers } = codecOf(other, ['mean7d', 'added'])
      // What a reader's broker looks up.
      const own = codecOf('registry').writers.findId(7)!
      if (format === 'registry') writers.learnId(7, own)
      else writers.learn(codecOf('avro').codec.schemas.get('prediction')! as never)
      const { features: vector, ...rest } = codec.decode(bytes)
      const { features: _, ...expected } = example
      expect([rest, vector]).toEqual([expected, [1e21, Number.NaN]])
    }
  })
})

test('JSON names features, and every number is one that other languages read alike', () => {
  expect(codecOf('json').codec.encode(example).toString()).toBe(
    '{"id":"o-1","time":"2026-01-02T03:04:05.006Z","score":0.30000000000000004,"modelVersion":"v3",' +
      '"features":{"amount":-0.0,"count7d":null,"mean7d":1e+21},"fingerprint":"f00d","origin":{"partition":2,"offset":41},' +
      '"positions":[{"stage":"user","partition":1,"next":[42,7]}],' +
      '"reasons":[{"feature":"amount","contribution":-1e999}],"shadow":[{"version":"v4","score":0.5}]}',
  )
})

test('JSON is as its schema says, and the schema rejects what it is not', () => {
  const { codec, writers } = codecOf('json')
  const schema = codec.jsonSchemas!.get('prediction')!
  expect(writers.subjects.get('shop.predictions-value')).toMatchObject({ type: 'JSON', schema })
  const ajv = new Ajv({ strict: true, allowUnionTypes: true, strictNumbers: false })
  formats.default(ajv)
  const validate = ajv.compile(schema)
  const years = { ...example, reasons: [] }
  fc.assert(
    fc.property(prediction, (given) => {
      const read = JSON.parse(codec.encode({ ...given, time: Math.max(0, given.time) }).toString())
      expect([validate(read), validate.errors]).toEqual([true, null])
    }),
    { seed: 1, numRuns: 100 },
  )
  const read = JSON.parse(codec.encode(years).toString())
  expect(Object.keys(read.features)).toEqual(features)
  for (const wrong of [{ score: 'high' }, { time: 5 }, { features: { amount: '1' } }, { more: 1 }]) {
    expect(validate({ ...read, ...wrong })).toBe(false)
  }
})

test('what is none of the three, and ids that nobody knows, are named', () => {
  const { codec, writers } = codecOf('avro')
  const unreadable = (bytes: Buffer, message: RegExp) =>
    expect(() => codec.decode(bytes)).toThrow(
      expect.objectContaining({ code: 'record_unreadable', message: expect.stringMatching(message) }),
    )
  unreadable(Buffer.from('{"id":'), /^A prediction record is no JSON: /)
  unreadable(Buffer.from('{"id":7}'), /^A prediction record in JSON has no id: expected a text\.$/)
  unreadable(
    Buffer.from(codecOf('json').codec.encode(example).toString().replace('1e+21', '"big"')),
    /has no features\.mean7d: expected a number or null/,
  )
  const json = JSON.parse(
    codecOf('json')
      .codec.encode({ ...example, reasons: [] })
      .toString(),
  )
  for (const [member, wrong] of [
    ['score', 'high'],
    ['modelVersion', 3],
    ['fingerprint', undefined],
    ['origin', { partition: 0 }],
    ['positions', [{ stage: 'user', partition: 1, next: ['7'] }]],
    ['reasons', [null]],
    ['shadow', [{ version: 4, score: 1 }]],
  ] as const) {
    unreadable(
      Buffer.from(JSON.stringify({ ...json, [member]: wrong })),
      new RegExp(`in JSON has no ${member}: expected`),
    )
  }
  unreadable(
    Buffer.from([0, 0, 0, 0, 9, 1]),
    /schema of id 9 in a schema registry, and no registry is configured: set SCHEMA_REGISTRY_URL/,
  )
  writers.hasRegistry = true
  unreadable(Buffer.from([0, 0, 0, 0, 9, 1]), /which the registry does not have/)
  writers.learnId(9, avroType({ type: 'record', name: 'other', fields: [] }))
  unreadable(Buffer.from([0, 0, 0, 0, 9, 1]), /of schema id 9 could not be decoded: other is none of its record types/)
  unreadable(Buffer.from('hello'), /A prediction record is none/)
})
