/** Instants lie in a range that the definition declares; what lies outside is refused with the unit that it looks like. */
import { describe, expect, test } from 'vitest'
import { text, timestamp } from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { eventJsonSchema } from '../../schemas/wire/event-json-schema.ts'
import { clicksPipeline } from '../support/clicks.ts'
import { orderSpecs, withField, withStream } from './mistakes.ts'

const nowMs = Date.UTC(2026, 10, 30)
const streamOf = (options: Parameters<typeof clicksPipeline>[0] = {}) => compile(clicksPipeline(options)).scored
const [standard] = [streamOf()]
const good = { clickId: 'a', user: 'u', page: 'p', amount: null, at: nowMs }
const span = 'an RFC 3339 instant with zone or whole milliseconds since 1970, from 1973-01-01 to 2199-12-31'
const declare = '; `instants` of the stream and `from` and `until` of the field declare another range'

function refusal(values: object, stream = standard) {
  const checked = stream!.codec.decode(Buffer.from(JSON.stringify({ ...good, ...values })))
  return checked.ok ? null : checked.problems[0]
}

describe('an instant', () => {
  test.each([
    ['seconds', nowMs / 1_000, 'range', '; this looks like seconds since 1970: multiply by 1,000'],
    ['seconds of 1980', 315_532_800, 'range', '; this looks like seconds since 1970: multiply by 1,000'],
    [
      'seconds with a fraction',
      nowMs / 1_000 + 0.123,
      'type',
      '; this looks like seconds since 1970: multiply by 1,000',
    ],
    ['microseconds', nowMs * 1_000, 'range', '; this looks like microseconds since 1970: divide by 1,000'],
    ['nanoseconds', nowMs * 1_000_000, 'range', '; this looks like nanoseconds since 1970: divide by 1,000,000'],
    ['days', nowMs / 86_400_000, 'range', '; this looks like days since 1970: multiply by 86,400,000'],
    ['zero', 0, 'range', declare],
    ['before 1970', -1, 'range', declare],
    ['text of 1972', '1972-12-31T23:59:59Z', 'range', declare],
    ['text of 2200', '2200-01-01T00:00:00Z', 'range', declare],
    ['no number', 'yesterday', 'type', ''],
  ])('in %s is refused', (_, at, code, closer) => {
    expect(refusal({ at })).toMatchObject({ path: '/at', code, expected: `${span}${closer}` })
  })

  test.each([nowMs, '1973-01-01T00:00:00Z', '2199-12-31T23:59:59.999Z'])('of %s is taken', (at) => {
    expect(refusal({ at })).toBeNull()
  })

  test('in a declared range, of the stream or of the field', () => {
    const old = streamOf({ instants: { from: '1900-01-01', until: '1999-06-01T12:00:00Z' } })
    expect(refusal({ at: '1899-12-31T23:59:59.999Z' }, old)?.expected).toContain(
      'from 1900-01-01 to 1999-06-01T11:59:59.999Z',
    )
    for (const at of [-1, 0, '1900-01-01T00:00:00Z']) expect(refusal({ at }, old)).toBeNull()
    expect(old.codec.decode(old.codec.encode({ ...good, at: -2_208_988_800_000 }))).toMatchObject({
      ok: true,
      event: { at: -2_208_988_800_000 },
    })
    const born = streamOf({ moreFields: { born: timestamp({ from: '1900-01-01', until: '2030-01-01' }) } })
    expect(refusal({ born: '1960-05-01T00:00:00Z' }, born)).toBeNull()
    expect(refusal({ born: nowMs, at: 0 }, born)).toMatchObject({ path: '/at', code: 'range' })
  })

  test('is described with its range', () => {
    const { properties } = eventJsonSchema(streamOf({ instants: { until: '2000-01-01' } })) as never as {
      properties: { at: { anyOf: unknown[]; examples: unknown[] } }
    }
    expect(properties.at.anyOf[1]).toEqual({ type: 'integer', minimum: 94_694_400_000, maximum: 946_684_799_999 })
    expect(properties.at.examples).toEqual(['1999-12-31T23:59:59.999Z'])
  })
})

describe('a range', () => {
  const limit = 'a day or an RFC 3339 instant with zone from the year 1 to 9999, such as 1973-01-01'
  test.each([
    [{ from: 'May' }, 'from', limit, 'May'],
    [{ from: '2024-02-30' }, 'from', limit, '2024-02-30'],
    [{ from: '0000-01-01' }, 'from', limit, '0000-01-01'],
    [{ until: 2030 }, 'until', limit, '2030'],
    [{ from: '2020-01-01', until: '2020-01-01' }, 'from', 'earlier than until (2020-01-01)', '2020-01-01'],
    [{ from: '2300-01-01' }, 'from', 'earlier than until (2200-01-01)', '2300-01-01'],
    [{ form: '1900-01-01' }, 'form', 'an option of instants: from or until; the nearest is from', '1900-01-01'],
  ])('%j is a mistake', (instants, option, expected, received) => {
    expect(withStream({ instants })).toEqual([
      `streams.orders.instants.${option}: expected ${expected}, received ${received}`,
    ])
  })

  test('that is none, and one of a field', () => {
    expect(withStream({ instants: '1900' })).toEqual([
      'streams.orders.instants: expected { from, until }, each where wanted, received 1900',
    ])
    expect(withField(timestamp({ from: 'then' }))).toEqual([
      `streams.orders.fields.extra.from: expected ${limit}, received then`,
    ])
    const fields = { ...orderSpecs, extra: timestamp({ from: '1890-01-01' }) }
    expect(withStream({ instants: { until: '1900-01-01' }, fields })).toEqual([
      'streams.orders.instants.from: expected earlier than until (1900-01-01), received 1973-01-01',
    ])
    expect(withField(text({ from: '1890-01-01' } as never))).toEqual([
      'streams.orders.fields.extra.from: expected an option of text(): optional or lengthMax, received 1890-01-01',
    ])
  })
})
