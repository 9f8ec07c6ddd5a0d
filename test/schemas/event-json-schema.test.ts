import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { FieldPlan } from '../../schemas/kernel/event.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { eventJsonSchema } from '../../schemas/wire/event-json-schema.ts'
import { codec, type Field, fields, sound } from './order-codec.ts'

const validatorOf = (of: readonly FieldPlan[]) => {
  const ajv = new Ajv2020({ allowUnionTypes: true })
  ajvFormats.default(ajv)
  return ajv.compile(eventJsonSchema({ name: 'orders', fields: of }))
}

test('has types, limits, words and examples of every field', () => {
  expect(eventJsonSchema({ name: 'orders', fields }).required).toEqual(['id', 'amount', 'at'])
  expect(eventJsonSchema({ name: 'orders', fields }).properties).toEqual({
    id: {
      description: 'text of 1 to 8 characters in valid UTF-8',
      type: 'string',
      minLength: 1,
      maxLength: 8,
      examples: ['id-1'],
    },
    note: {
      description: 'text of 1 to 8 characters in valid UTF-8',
      type: ['string', 'null'],
      minLength: 1,
      maxLength: 8,
      examples: ['note-1'],
    },
    ratio: { description: 'a finite number', type: ['number', 'null'], examples: [12.5] },
    amount: {
      description: 'a finite number >= 0 with at most 2 decimals',
      type: 'number',
      minimum: 0,
      maximum: 90_071_992_547_409.91,
      examples: [12.5],
    },
    pieces: {
      description: 'a whole number within 2^53 from -5 to 5',
      type: ['integer', 'null'],
      minimum: -5,
      maximum: 5,
      examples: [1],
    },
    total: {
      description: 'a whole number within 2^53',
      type: ['integer', 'null'],
      minimum: Number.MIN_SAFE_INTEGER,
      maximum: Number.MAX_SAFE_INTEGER,
      examples: [1],
    },
    at: {
      description: 'an RFC 3339 instant with zone or whole milliseconds since 1970, up to the year 9999',
      anyOf: [
        { type: 'string', format: 'date-time' },
        { type: 'integer', minimum: 0, maximum: 253_402_300_799_999 },
      ],
      examples: ['2018-05-01T12:00:00Z'],
    },
    gift: { description: 'true or false', type: ['boolean', 'null'], examples: [true] },
  })
})

test('its example is an event, for any limits', () => {
  const [optional, lengthMax] = [false, 3]
  const narrow: FieldPlan[] = [
    { name: 'identifier', kind: 'text', optional, lengthMax },
    { name: 'small', kind: 'number', optional, min: 0.013, max: 0.5, decimals: 2 },
    { name: 'negative', kind: 'number', optional, max: -3 },
    { name: 'large', kind: 'integer', optional, min: 7.5 },
  ]
  for (const of of [fields, narrow]) {
    const [example] = eventJsonSchema({ name: 'orders', fields: of }).examples
    expect(createEventCodec('orders', 'millrace.test', of).check(example)).toMatchObject({ ok: true })
    expect(validatorOf(of)(example)).toBe(true)
  }
})

test('accepts all that the codec accepts', () => {
  const validate = validatorOf(fields)
  const short = fc.string({ unit: 'grapheme', maxLength: 9 })
  const instant = fc.oneof(
    fc.nat(253_402_300_799_999),
    fc.date({ noInvalidDate: true }).map((at) => at.toISOString()),
  )
  const likely: Record<Field, fc.Arbitrary<unknown>> = {
    id: short,
    note: short,
    ratio: fc.double(),
    amount: fc.integer({ min: -9, max: 1_000_000 }).map((cents) => cents / 100),
    pieces: fc.integer({ min: -6, max: 6 }),
    total: fc.maxSafeInteger(),
    at: instant,
    gift: fc.boolean(),
  }
  const value = (name: Field) =>
    fc.oneof({ weight: 20, arbitrary: likely[name] }, { weight: 1, arbitrary: fc.jsonValue() })
  const change = fc.record(Object.fromEntries(fields.map(({ name }) => [name, value(name as Field)])), {
    requiredKeys: [],
  })
  let taken = 0
  fc.assert(
    fc.property(change, (given) => {
      const event = { ...sound, ...given }
      if (!codec.check(event).ok) return
      taken++
      expect(validate(event), JSON.stringify([event, validate.errors])).toBe(true)
    }),
    { seed: 20261125, numRuns: 3_000 },
  )
  expect(taken).toBeGreaterThan(100)
})
