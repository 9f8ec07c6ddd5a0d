/**
 * Twelve bytes kept every process busy forever: a raw event that named an internal schema by its fingerprint, with a block of −2 bytes
 * in an array that avsc skips. What is read here ends at once, from any writer and schema.
 */
import type avro from 'avsc'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { FieldPlan } from '../../schemas/kernel/event.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { fingerprintBytes } from '../../schemas/wire/avro-fingerprint.ts'
import { type AvroSchema, avroType } from '../../schemas/wire/avro-types.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { createSingleObjectCodec } from '../../schemas/wire/single-object.ts'
import { createWriterSchemas } from '../../schemas/wire/writer-schemas.ts'
import { drawn } from '../support/nightly.ts'

const seed = 20261103
/** Far above what any of these takes, far below what a person waits. */
const endsWithinMs = 1_000
const plan = compile(cardFraud)
const header = (schema: AvroSchema) => Buffer.concat([Buffer.from('c301', 'hex'), fingerprintBytes(avroType(schema))])
/** An internal schema, with an array block of one element that says it is −2 bytes long. */
const internalName = 'terminal_mark'
const internal = plan.stages[1]!.repartitionIn!.codec.schemas.get(internalName)! as AvroSchema
const twelveBytes = Buffer.concat([header(internal), Buffer.from('0103', 'hex')])
const internalFingerprint = fingerprintBytes(avroType(internal)).toString('hex')
const id: FieldPlan = { name: 'id', kind: 'text', optional: false }

/** One number after another, as Avro writes them. */
function longs(...values: readonly (number | bigint)[]): Buffer {
  const bytes: number[] = []
  for (const value of values) {
    let rest = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
    for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
    bytes.push(Number(rest))
  }
  return Buffer.from(bytes)
}

const recordOf = (fields: Record<string, unknown>, name = 'com.acme.Order'): AvroSchema => {
  return { type: 'record', name, fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })) }
}
const array = (items: unknown) => ({ type: 'array', items })
const map = (values: unknown) => ({ type: 'map', values })

/** What the stream of events that hold an id makes of one of another writer, with `more` before the id. */
function readForeign(more: unknown, ...bytes: readonly Buffer[]) {
  const schema = recordOf({ more, id: 'string' })
  const writers = createWriterSchemas()
  writers.learn(schema)
  return createEventCodec('orders', 'shop', [id], writers).decode(Buffer.concat([header(schema), ...bytes]))
}

/** The same field, declared by the codec itself. */
function readOwn(more: unknown, ...bytes: readonly Buffer[]) {
  const schema = recordOf({ more, id: 'string' })
  return createSingleObjectCodec(new Map([['order', schema]])).decode(Buffer.concat([header(schema), ...bytes]))
}

function inTime<T>(read: () => T): T {
  const begin = performance.now()
  try {
    return read()
  } finally {
    expect(performance.now() - begin).toBeLessThan(endsWithinMs)
  }
}

describe('a raw event that names the schema of an internal topic', () => {
  test('is rejected: the twelve bytes', () => {
    for (const { name, codec } of plan.streams) {
      expect(inTime(() => codec.decode(twelveBytes))).toEqual({
        ok: false,
        problems: [
          {
            path: '',
            code: 'schema_incompatible',
            expected: `a schema whose records can be read as ${name}`,
            received: `schema fingerprint ${internalFingerprint}: millrace.card_fraud.terminal_mark is none of its record types`,
          },
        ],
      })
    }
  })

  const codecs = {
    ...Object.fromEntries(
      plan.stages.flatMap(({ repartitionOut }) =>
        repartitionOut ? [[repartitionOut.topic, repartitionOut.codec]] : [],
      ),
    ),
    ...Object.fromEntries([plan.predictions, plan.rejected, plan.models].map(({ topic, codec }) => [topic, codec])),
  }
  const internal = Object.entries(codecs).flatMap(([topic, { schemas }]) =>
    [...schemas].map(([name, schema]) => ({ topic, name, schema: schema as AvroSchema })),
  )

  test.each(internal)('$name of $topic is none in a raw topic, and none in another internal topic', (one) => {
    const bytes = Buffer.concat([header(one.schema), Buffer.alloc(64)])
    for (const { codec } of plan.streams) {
      expect(codec.decode(bytes)).toMatchObject({
        problems: [{ code: 'schema_incompatible', received: expect.stringContaining(`.${one.name} is none of its`) }],
      })
    }
    for (const [topic, codec] of Object.entries(codecs)) {
      if (topic === one.topic) continue
      expect(() => codec.decode(bytes)).toThrow(`.${one.name} is none of its record types`)
    }
  })

  test('of another definition is rejected by its shape, one of a raw event read whatever its name was', () => {
    const reader = compile(cardFraud)
    const then = { ...(reader.predictions.codec.schemas.get('prediction') as AvroSchema), name: 'prediction_of_then' }
    reader.schemas.writers.learn(then)
    expect(reader.scored.codec.decode(Buffer.concat([header(then), Buffer.alloc(64)]))).toMatchObject({
      problems: [{ code: 'schema_incompatible' }],
    })
    const raw = reader.scored.codec
    const event = { txId: 't', customerId: 'c', terminalId: 'm', amount: 1, at: Date.UTC(2024, 0, 1) }
    const body = raw.encode(event).subarray(10)
    for (const name of ['payments', 'com.acme.Payment', 'transactions']) {
      const renamed = { ...(raw.schemas.get('transactions') as AvroSchema), name, doc: 'of then' }
      reader.schemas.writers.learn(renamed)
      expect(raw.decode(Buffer.concat([header(renamed), body]))).toEqual({ ok: true, event })
    }
  })
})

const nothing = recordOf({}, 'com.acme.Nothing')
const textA = Buffer.from([2, 0x61])
const huge = 2 ** 40

describe.each([
  ['a foreign schema', readForeign, (problem: string) => ({ problems: [{ code: 'not_avro', received: problem }] })],
  ['a schema of its own', readOwn, null],
])('bytes of %s', (_, read, problemOf) => {
  test.each<[string, unknown, readonly Buffer[], string]>([
    ['an array of −2 bytes', array('long'), [longs(-1, -2)], 'a block of an array claims -2 bytes where 0 are left'],
    ['a map of −2 bytes', map('long'), [longs(-1, -2)], 'a block of a map claims -2 bytes where 0 are left'],
    [
      'a block of more bytes than there are',
      array('long'),
      [longs(-1, 99, 5, 0), textA],
      'a block of an array claims 99 bytes where 4 are left',
    ],
    [
      'a block of other bytes than it says',
      array('long'),
      [longs(-1, 2, 5, 0), textA],
      'a block of an array claims 2 bytes and has 1',
    ],
    [
      '2^40 numbers',
      array('long'),
      [longs(huge, 5, 0), textA],
      `a block of an array claims ${huge} items where 4 bytes are left`,
    ],
    [
      '2^40 doubles',
      array('double'),
      [longs(huge, 0)],
      `a block of an array claims ${huge} items where 1 bytes are left`,
    ],
    [
      '2^40 nulls',
      array('null'),
      [longs(huge, 0), textA],
      `a block of an array claims ${huge} items of no bytes, more than 1000 in the record`,
    ],
    [
      '−2^40 empty records',
      array(nothing),
      [longs(-huge, 0, 0), textA],
      `a block of an array claims ${huge} items of no bytes, more than 1000 in the record`,
    ],
    [
      'nulls in more blocks than one',
      array('null'),
      [longs(600, 600, 0), textA],
      'a block of an array claims 600 items of no bytes, more than 1000 in the record',
    ],
    [
      'nulls in more arrays than one',
      array(array('null')),
      [longs(2, 600, 0, 600, 0, 0), textA],
      'a block of an array claims 600 items of no bytes, more than 1000 in the record',
    ],
    [
      'an array in an array',
      array(array('long')),
      [longs(2, 0, huge)],
      `a block of an array claims ${huge} items where 0 bytes are left`,
    ],
    ['the smallest count', array('long'), [longs(-(2n ** 63n), 0)], 'a whole number is beyond 2^53'],
    ['a count without end', array('long'), [Buffer.alloc(1_000_000, 0xff)], 'a whole number is beyond 2^53'],
    ['a number without end', array('int'), [longs(1), Buffer.alloc(64, 0xff)], 'a whole number is beyond 2^53'],
    [
      'a map of maps',
      map(map('null')),
      [longs(1), textA, longs(-1, -2)],
      'a block of a map claims -2 bytes where 0 are left',
    ],
    ['a key of negative length', map('null'), [longs(1, -5, 0), textA], 'text or bytes have the length -5'],
    ['text of negative length', array('string'), [longs(1, -huge)], 'text or bytes have the length -1099511627776'],
    ['bytes longer than the record', array('bytes'), [longs(1, huge), textA], 'the record is cut short'],
    ['a branch that is none', array(['null', 'long']), [longs(1, 2, 0), textA], 'a union of 2 types names type 2'],
    ['a branch below zero', array(['null', 'long']), [longs(1, -1, 0), textA], 'a union of 2 types names type -1'],
  ])('with %s are refused', (_what, more, bytes, problem) => {
    if (problemOf) expect(inTime(() => read(more, ...bytes))).toMatchObject(problemOf(problem))
    else expect(() => inTime(() => read(more, ...bytes))).toThrow(problem)
  })
})

describe('records in records', () => {
  const nested = recordOf({ next: ['null', 'com.acme.Link'] }, 'com.acme.Link')
  const chain = (length: number) => Buffer.concat([Buffer.alloc(length - 1, 2), Buffer.from([0])])

  test('are read a thousand deep and rejected deeper', () => {
    expect(readForeign(nested, chain(999), textA)).toEqual({ ok: true, event: { id: 'a' } })
    expect(inTime(() => readForeign(nested, chain(1_000_000), textA))).toMatchObject({
      problems: [{ code: 'not_avro', received: 'more than 1000 records lie in one another' }],
    })
  })

  test('that never end are rejected', () => {
    const endless = recordOf({ next: 'com.acme.Link' }, 'com.acme.Link')
    expect(readForeign(endless, textA)).toMatchObject({
      problems: [{ code: 'not_avro', received: 'more than 1000 records lie in one another' }],
    })
  })

  test('that unfold to millions of nulls make a schema that is not read', () => {
    let doubled: unknown = 'null'
    for (let i = 0; i < 20; i++) doubled = recordOf({ a: doubled, b: i === 0 ? 'null' : `n${i - 1}` }, `n${i}`)
    expect(inTime(() => readForeign(doubled, textA))).toMatchObject({
      problems: [
        { code: 'schema_incompatible', received: expect.stringMatching('more than 1000 values that take no bytes') },
      ],
    })
  })
})

describe('what is sound', () => {
  test('in blocks with and without sizes is read', () => {
    const event = { ok: true, event: { id: 'a' } }
    expect(readForeign(array('long'), longs(-2, 2, 5, 6, 1, 7, 0), textA)).toEqual(event)
    expect(
      readForeign(map(array('double')), longs(-1, 12), textA, longs(1), Buffer.alloc(8), longs(0, 0), textA),
    ).toEqual(event)
    expect(readForeign(array('null'), longs(1_000, 0), textA)).toEqual(event)
    expect(readForeign(array(nothing), longs(-3, 0, 0), textA)).toEqual(event)
    expect(readForeign('long', longs(2n ** 63n - 1n), textA)).toEqual(event)
  })

  test('is read however many items there are', () => {
    const pair = recordOf({ a: 'long', b: 'int' }, 'com.acme.Pair')
    const bytes = [longs(200_000), Buffer.alloc(400_000, 2), longs(0), textA]
    expect(inTime(() => readForeign(array(pair), ...bytes))).toEqual({ ok: true, event: { id: 'a' } })
  })
})

/** Values of a type, as avsc writes them. */
function valuesOf(type: avro.Type): fc.Arbitrary<unknown> {
  const { types, itemsType, valuesType, fields, symbols } = type as unknown as {
    readonly types: readonly avro.Type[]
    readonly itemsType: avro.Type
    readonly valuesType: avro.Type
    readonly fields: readonly { readonly name: string; readonly type: avro.Type }[]
    readonly symbols: readonly string[]
  }
  switch (type.typeName as string) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'int':
      return fc.integer()
    case 'long':
      return fc.maxSafeInteger()
    case 'float':
      return fc.float()
    case 'double':
      return fc.double()
    case 'string':
      return fc.string({ maxLength: 80 })
    case 'bytes':
      return fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes))
    case 'enum':
      return fc.constantFrom(...symbols)
    case 'array':
      return fc.array(valuesOf(itemsType), { maxLength: 5 })
    case 'map':
      return fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), valuesOf(valuesType), { maxKeys: 5 })
    case 'union:unwrapped':
      return fc.oneof(...types.map(valuesOf))
    case 'union:wrapped':
      return fc.oneof(...types.map((branch) => valuesOf(branch).map((value) => ({ [branch.branchName!]: value }))))
    case 'record':
      return fc.record(Object.fromEntries(fields.map((field) => [field.name, valuesOf(field.type)])))
    default:
      throw new Error(`no values of ${type.typeName}`)
  }
}

describe('of every schema that the plan knows', () => {
  const own = [...plan.schemas.writers.own.values()]
  const readers: ReadonlyArray<{ readonly codec: { decode(bytes: Buffer): unknown } }> = [
    ...plan.streams,
    ...plan.stages.flatMap(({ repartitionOut }) => repartitionOut ?? []),
    ...[plan.predictions, plan.rejected, plan.models],
  ]
  /** Bytes that mean something in Avro come up more often than chance has it. */
  const part = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => longs(value)),
    fc.integer({ min: -4, max: 4 }).map((value) => longs(value)),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  )
  const body = fc.array(part, { maxLength: 30 }).map((parts) => Buffer.concat(parts))

  test('random bytes are read or rejected at once, by every codec', () => {
    fc.assert(
      fc.property(fc.constantFrom(...own), body, (schema, bytes) => {
        const record = Buffer.concat([header(schema), bytes])
        for (const { codec } of readers) {
          inTime(() => {
            try {
              codec.decode(record)
            } catch (error) {
              expect(error).toMatchObject({ code: 'record_unreadable' })
            }
          })
        }
      }),
      { seed, numRuns: drawn({ always: 500, nightly: 2_000 }) },
    )
  })

  test.each(own.map((schema) => [schema.name, schema] as const))(
    'values of %s are read as they were written',
    (_, schema) => {
      const more = { name: 'more', type: map('null') }
      const wider = { ...schema, fields: [...(schema.fields as readonly object[]), more] }
      const writers = createWriterSchemas()
      writers.learn(wider)
      const codec = createSingleObjectCodec(new Map([['record', schema]]), { writers })
      const type = avroType(schema)
      fc.assert(
        fc.property(valuesOf(type), (value) => {
          const written = type.toBuffer(value)
          const expected = type.fromBuffer(written)
          expect(codec.decode(Buffer.concat([header(schema), written]))!.record).toEqual(expected)
          const foreign = Buffer.concat([header(wider), written, longs(-1, 2), textA, longs(0)])
          expect(codec.decode(foreign)!.record).toEqual(expected)
        }),
        { seed, numRuns: 100 },
      )
    },
  )
})
