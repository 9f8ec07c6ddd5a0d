/**
 * A message about the text "1.25" said `received 1.25`, about 9007199254740993 another number, and about an empty text nothing at all. What
 * is accepted of values as producers write them, and what the message about each of the others says.
 */
import { describe, expect, test } from 'vitest'
import { jsonLines } from '../../producers/json-lines.ts'
import { createRowCheck } from '../../producers/prepare.ts'
import type { FieldPlan, Problem } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { createEventCodec, describeField } from '../../schemas/wire/event-codec.ts'

const fields: readonly FieldPlan[] = [
  { name: 'orderId', kind: 'text', optional: false },
  { name: 'total', kind: 'number', optional: false, min: 0, decimals: 2 },
  { name: 'qty', kind: 'integer', optional: true },
  { name: 'gift', kind: 'flag', optional: true },
  { name: 'note', kind: 'text', optional: true },
  { name: 'at', kind: 'timestamp', optional: false, min: Date.UTC(1973, 0), max: Date.UTC(2200, 0) - 1 },
]
const codec = createEventCodec('orders', 'shop', fields)
const sound = { orderId: '"o1"', total: '1.25', at: '1700000000000' }
const instant = 1_700_000_000_000

/** Members as they are written in JSON; null leaves one out. */
function written(change: Readonly<Record<string, string | null>>): string {
  const members = Object.entries({ ...sound, ...change }).filter(([, value]) => value !== null)
  return `{${members.map(([name, value]) => `"${name}":${value}`).join(',')}}`
}

/** What is added to the description of the field, and what came. */
function line({ path, code, expected, received }: Problem): string {
  const field = fields.find(({ name }) => path === `/${name}`)
  const added = field === undefined ? expected : expected.replace(describeField(field), '').replace(/^[;,] /, '')
  return [`${path} ${code}`.trim(), added, received].filter((part) => part !== '').join(' | ')
}

function linesOf(found: ReturnType<typeof codec.decode>): readonly string[] {
  return found.ok ? [] : found.problems.map(line)
}

describe('a value in JSON', () => {
  test.each<[string, string, unknown]>([
    ['at', '1700000000000.0', instant],
    ['at', '1.7e12', instant],
    ['at', '"2023-11-14T22:13:20Z"', instant],
    ['at', '"2023-11-14T22:13:20.000999+00:00"', instant],
    ['at', '"2023-11-14 22:13:20+00:00"', instant],
    ['total', '-0.0', 0],
    ['qty', '1.0', 1],
    ['qty', '9007199254740991', 9_007_199_254_740_991],
    ['qty', 'null', null],
    ['note', '"a\\u0000b"', 'a\u0000b'],
  ])('%s of %s is accepted', (name, text, value) => {
    const found = codec.decode(Buffer.from(written({ [name]: text })))
    expect(found.ok && found.event[name]).toBe(value)
  })

  test.each<[string, string | null, string]>([
    ['at', '1700000000', 'this looks like seconds since 1970: multiply by 1,000 | 1700000000'],
    ['at', '1700000000000000', 'this looks like microseconds since 1970: divide by 1,000 | 1700000000000000'],
    ['at', '1700000000000.5', '1700000000000.5'],
    ['at', '"1700000000000"', 'this is a number in quotes | "1700000000000"'],
    ['at', '"2023-11-14"', 'this has no time of day | "2023-11-14"'],
    ['at', '"2023-11-14T22:13:20"', 'this has no zone, such as Z or +02:00 | "2023-11-14T22:13:20"'],
    ['at', '"2023-11-14T22:13Z"', 'this has no seconds | "2023-11-14T22:13Z"'],
    [
      'at',
      '"2023-11-14T22:13:20+0000"',
      'its zone is to be Z or as in +02:00, with nothing after it | "2023-11-14T22:13:20+0000"',
    ],
    [
      'at',
      '"2023-11-14T22:13:20Z[UTC]"',
      'its zone is to be Z or as in +02:00, with nothing after it | "2023-11-14T22:13:20Z[UTC]"',
    ],
    [
      'at',
      '"2016-12-31T23:59:60Z"',
      'a leap second has no milliseconds of its own, 59 is the last | "2016-12-31T23:59:60Z"',
    ],
    ['at', '"2023-02-29T00:00:00Z"', 'there is no such day or time | "2023-02-29T00:00:00Z"'],
    ['at', 'null', 'null'],
    ['at', '[2023,11,14]', '[2023,11,14]'],
    ['total', '"1.25"', 'this is a number in quotes | "1.25"'],
    ['total', '""', '""'],
    ['total', '1.255', '1.255'],
    ['total', '1e400', '1e400'],
    ['total', '-1', '-1'],
    ['total', '90071992547409.93', 'within ±90071992547409.9 | 90071992547409.93'],
    ['total', 'true', 'true'],
    ['qty', '9007199254740993', '9007199254740993'],
    ['qty', '-9007199254740993.0', '-9007199254740993.0'],
    ['qty', '"3"', 'this is a number in quotes | "3"'],
    ['gift', '1', '1'],
    ['gift', '"true"', 'this is a flag in quotes | "true"'],
    ['orderId', '596', 'this is a number without quotes | 596'],
    ['orderId', 'false', 'this is a flag without quotes | false'],
    ['orderId', null, 'nothing'],
    ['orderId', '""', '""'],
    ['note', '""', 'null or no field stands for no value | ""'],
    ['note', '"\\ud800"', '"\\ud800"'],
    ['note', '"Jos\ufffd"', 'U+FFFD stands for bytes that were not UTF-8 | "Jos\ufffd"'],
  ])('%s of %s is rejected', (name, text, message) => {
    const [found, ...more] = linesOf(codec.decode(Buffer.from(written({ [name]: text }))))
    expect(found).toMatch(new RegExp(`^/${name} (?:type|range|missing|length|decimals) \\| `))
    expect(found!.slice(found!.indexOf(' | ') + 3)).toBe(message)
    expect(more).toEqual([])
  })
})

const formats = 'a JSON object in UTF-8, an Avro single object or the Confluent wire format'
const noNumber = 'JSON has neither NaN nor Infinity: null or no field stands for no value'

test.each<[string, string | Buffer, string]>([
  ['NaN', written({ total: 'NaN' }), `not_json | ${formats}; ${noNumber} | invalid JSON: Unexpected token 'N'`],
  ['-Infinity', written({ total: '-Infinity' }), `not_json | ${formats}; ${noNumber} | invalid JSON: No number after`],
  [
    'None',
    written({ note: 'None' }),
    `not_json | ${formats}; JSON has true, false and null | invalid JSON: Unexpected`,
  ],
  ['quotes of Python', `{'orderId': 'o1'}`, `not_json | ${formats}; JSON has double quotes | invalid JSON: Expected`],
  ['a comma at the end', `{"total":1,}`, `not_json | ${formats}; JSON has no comma after the last value | invalid`],
  ['two objects', written({}).repeat(2), `not_json | ${formats}; one object only | invalid JSON: Unexpected non-`],
  [
    'Latin-1',
    Buffer.from('{"note":"é"}', 'latin1'),
    `not_json | ${formats} | 0xe9 as byte 10 of 12, which is not UTF-8`,
  ],
  ['UTF-16', Buffer.from('\ufeff{}', 'utf16le'), `not_json | ${formats}; this is UTF-16 | 0xff as byte 1 of 6, which`],
  ['gzip', Buffer.from('1f8b0800', 'hex'), `not_json | ${formats}; this is compressed by gzip | 0x8b as byte 2 of 4`],
  ['a list', `[${written({})}]`, 'type | an object with the fields of the event; one event at a time | [{"orderId":'],
  [
    'JSON in JSON',
    JSON.stringify(written({})),
    'type | an object with the fields of the event; this is JSON in quotes, encoded twice | "{\\"orderId\\":',
  ],
  ['a name twice', written({}).replace('}', ',"t\\u006ftal":9}'), '/total repeated | one value | several'],
  ['no bytes', '', 'empty | an event | no bytes'],
])('%s instead of an event', (_, bytes, message) => {
  const found = linesOf(codec.decode(Buffer.from(bytes as string)))
  expect(found).toHaveLength(1)
  expect(found[0]!.slice(0, message.length)).toBe(message)
})

test.each([
  ['the envelope of Kafka Connect', `{"schema":{},"payload":${written({})}}`, '/payload/'],
  ['the envelope of Debezium', `{"payload":{"before":null,"after":${written({})}}}`, '/payload/after/'],
])('%s: the message says where the fields are', (_, text, path) => {
  const required = ['orderId', 'total', 'at']
  const lines = required.map((name) => `/${name} missing | nothing, but ${path}${name} is there`)
  expect(linesOf(codec.decode(Buffer.from(text)))).toEqual(lines)
})

test('a name that is spelt otherwise is named', () => {
  const text = written({ orderId: null, ORDER_ID: '"o1"' })
  expect(linesOf(codec.decode(Buffer.from(text)))).toEqual(['/orderId missing | nothing, but /ORDER_ID is there'])
})

test.each([
  ['"1.25"', '"1.25"'],
  ['1,25', '1,25'],
  ['9.007199254740993e15', '9.007199254740993e15'],
  [' ', '" "'],
  ['\tx', '"\\tx"'],
  ['1\n2', '"1\\n2"'],
  ['x'.repeat(121), `${'x'.repeat(120)}… (121 characters)`],
])('the cell %j of a text file is shown as it is', (cell, shown) => {
  const cells = { orderId: 'o1', total: '1', qty: cell, at: '1700000000000' }
  const found = codec.check(cells, { fromText: true })
  expect(found.ok ? [] : found.problems.map(({ path, received }) => [path, received])).toEqual([['/qty', shown]])
})

describe('a line of a file', () => {
  async function read(text: string): Promise<readonly string[]> {
    const lines: string[] = []
    const check = createRowCheck([{ name: 'orders', codec, timeField: 'at' } as StreamPlan])
    async function* bytes() {
      yield Buffer.from(text)
    }
    for await (const events of jsonLines(bytes(), { sourceName: 'f', stream: 'orders' })) {
      for (const event of events) {
        const row = check(event)
        lines.push(...(row.kind === 'rejected' ? row.problems.map(line) : [row.kind]))
      }
    }
    return lines
  }

  test('that gives a name twice was sent with the last value', async () => {
    const twice = written({}).replace('}', ',"total":9}')
    expect(await read(`${twice}\n${written({})}`)).toEqual(['/total repeated | one value | several', 'event'])
  })

  test('says what came', async () => {
    const found = await read([written({ total: '"1.25"' }), written({ total: 'NaN' }), '"x"'].join('\n'))
    expect(found[0]).toBe('/total type | this is a number in quotes | "1.25"')
    expect(found[1]).toMatch(`not_json | a JSON object in UTF-8; ${noNumber} | invalid JSON: Unexpected token 'N'`)
    expect(found[2]).toBe('type | an object with the fields of the event | "x"')
  })
})
