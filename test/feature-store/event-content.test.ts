/** What tells a repetition of an event from another event of its id. */
import { describe, expect, test } from 'vitest'
import { compileContent, isOtherContent } from '../../feature-store/event-content.ts'
import { number, stream, text, timestamp } from '../../schemas/definition/definition.ts'
import type { EventValues, FieldPlan } from '../../schemas/kernel/event.ts'
import { createKeyedHash, fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import { planStream } from '../../schemas/plan/compile-stream.ts'
import { fingerprintBytes } from '../../schemas/wire/avro-fingerprint.ts'
import { avroType } from '../../schemas/wire/avro-types.ts'
import { createWriterSchemas } from '../../schemas/wire/writer-schemas.ts'

const fields: readonly FieldPlan[] = [
  { name: 'id', kind: 'text', optional: false },
  { name: 'total', kind: 'number', optional: true, decimals: 2 },
  { name: 'weight', kind: 'number', optional: true },
  { name: 'gift', kind: 'flag', optional: true },
  { name: 'note', kind: 'text', optional: true },
  { name: 'at', kind: 'timestamp', optional: false },
]
const note2: FieldPlan = { name: 'note2', kind: 'text', optional: true }
const sound: EventValues = { id: '1', total: 1.5, weight: 0.1, gift: true, note: 'a', at: 5 }

function contentOf(event: EventValues, of: readonly FieldPlan[] = fields): Int32Array {
  const words = new Int32Array(2)
  compileContent({ fields: of, idField: 'id' }, createKeyedHash(fixedHashKey))(event, words, 0)
  return words
}

const isOther = (a: Int32Array, b: Int32Array) => isOtherContent(a, 0, b, 0)

describe('contents are the same', () => {
  test.each<[string, EventValues]>([
    ['for the same values', { ...sound }],
    ['for the id as a number', { ...sound, id: 1 }],
    ['for a value of which only binary digits beyond its decimals differ', { ...sound, total: 1.5000000000000002 }],
  ])('%s', (_, event) => {
    expect(isOther(contentOf(sound), contentOf(event))).toBe(false)
    expect(contentOf(event)).toEqual(contentOf(sound))
  })

  test('for null, nothing, and -0 as 0', () => {
    const { note: _, ...without } = sound
    expect(contentOf({ ...sound, note: null })).toEqual(contentOf(without))
    expect(contentOf({ ...sound, weight: -0 })).toEqual(contentOf({ ...sound, weight: 0 }))
  })

  test('whatever order the fields are declared in', () => {
    expect(contentOf(sound, fields.toReversed())).toEqual(contentOf(sound))
  })

  test('for JSON, our Avro and Avro of a foreign schema', () => {
    const orders = stream('orders', {
      id: 'id',
      key: 'user',
      time: 'at',
      fields: {
        id: text(),
        user: text(),
        total: number({ decimals: 2 }),
        note: text({ optional: true }),
        at: timestamp(),
      },
    })
    const writers = createWriterSchemas()
    const { codec, fields: planned } = planStream(orders, 0, 0, {
      prefix: '',
      rawPrefix: '',
      avroNamespace: 'shop',
      writers,
    })
    const event = { id: 'a', user: 'u', total: 12.3, note: null, at: 1_700_000_000_000 }
    const foreign = avroType({
      type: 'record',
      name: 'order',
      namespace: 'else.where',
      fields: [
        { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
        { name: 'more', type: 'string' },
        { name: 'total', type: 'double' },
        { name: 'user', type: 'string' },
        { name: 'id', type: 'string' },
      ],
    } as never)
    writers.learn(foreign.schema() as never)
    const marked = Buffer.concat([Buffer.from([0xc3, 0x01]), fingerprintBytes(foreign)])
    const bytes = [
      Buffer.from(JSON.stringify({ ...event, note: undefined, at: '2023-11-14T22:13:20Z', more: 1 })),
      codec.encode(event),
      Buffer.concat([marked, foreign.toBuffer({ ...event, more: 'x' })]),
    ]
    const contents = bytes.map((one) => {
      const decoded = codec.decode(one)
      return decoded.ok ? contentOf(decoded.event, planned) : decoded.problems
    })
    expect(contents).toEqual([contents[0], contents[0], contents[0]])
    expect(contents[0]).toBeInstanceOf(Int32Array)
  })
})

describe('contents are others', () => {
  test.each<[string, EventValues]>([
    ['another number', { ...sound, total: 1.51 }],
    ['another double', { ...sound, weight: 0.1 + 2 ** -56 }],
    ['another text', { ...sound, note: 'b' }],
    ['a longer text', { ...sound, note: 'a\u0000' }],
    ['another flag', { ...sound, gift: false }],
    ['another time', { ...sound, at: 6 }],
    ['no text', { ...sound, note: null }],
    ['an empty text', { ...sound, note: '' }],
    ['values that have changed places', { ...sound, weight: 1.5, total: 0.1 }],
  ])('for %s', (_, event) => {
    expect(isOther(contentOf(sound), contentOf(event))).toBe(true)
  })
})

describe('a definition that has another field', () => {
  const wider = [...fields, note2]

  test('knows a repetition without it, and a conflict', () => {
    expect(isOther(contentOf(sound), contentOf(sound, wider))).toBe(false)
    expect(isOther(contentOf(sound), contentOf({ ...sound, total: 2 }, wider))).toBe(true)
  })

  test('makes no conflict of what it did not read before, or no longer reads', () => {
    const sent = { ...sound, note2: 'was always sent' }
    expect(isOther(contentOf(sent), contentOf(sent, wider))).toBe(false)
    expect(isOther(contentOf(sent, wider), contentOf(sent))).toBe(false)
  })
})
