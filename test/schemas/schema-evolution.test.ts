/** Records of other writers: what schema resolution makes of them, in raw topics and in our own. */
import avro from 'avsc'
import { describe, expect, test } from 'vitest'
import {
  count,
  definePipeline,
  type Entity,
  entity,
  type Feature,
  type FieldSpecs,
  logisticRegression,
  number,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import type { FieldPlan } from '../../schemas/kernel/event.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { fingerprintBytes } from '../../schemas/wire/avro-fingerprint.ts'
import { avroType } from '../../schemas/wire/avro-types.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import type { RepartitionEvent } from '../../schemas/wire/records.ts'
import { createWriterSchemas } from '../../schemas/wire/writer-schemas.ts'

const id: FieldPlan = { name: 'id', kind: 'text', optional: false }
const amount: FieldPlan = { name: 'amount', kind: 'number', optional: false }
const at: FieldPlan = { name: 'at', kind: 'timestamp', optional: false }
const note: FieldPlan = { name: 'note', kind: 'text', optional: true }

/** What a reader with these fields makes of an event of a writer with those. */
function readBy(
  fields: readonly FieldPlan[],
  written: readonly FieldPlan[],
  event: Record<string, string | number | null>,
) {
  const writers = createWriterSchemas()
  const reader = createEventCodec('orders', 'shop', fields, writers)
  const writer = createEventCodec('orders', 'shop', written)
  writers.learn([...writer.schemas.values()][0] as Record<string, unknown>)
  return reader.decode(writer.encode(event))
}

/** A record of any schema, in the Confluent wire format under id 7. */
function confluent(schema: Record<string, unknown>, record: object): Buffer {
  return Buffer.concat([
    Buffer.from([0, 0, 0, 0, 7]),
    avro.Type.forSchema(schema as unknown as avro.Schema).toBuffer(record),
  ])
}

function readConfluent(fields: readonly FieldPlan[], schema: Record<string, unknown>, bytes: Buffer) {
  const writers = createWriterSchemas()
  writers.hasRegistry = true
  writers.learnId(7, avroType(schema))
  return createEventCodec('orders', 'shop', fields, writers).decode(bytes)
}

const recordOf = (fields: Record<string, unknown>, name = 'com.acme.Order') => {
  return { type: 'record', name, fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })) }
}

describe('an old or new event', () => {
  test('without an optional field lacks it', () => {
    expect(readBy([id, note], [id], { id: 'a' })).toEqual({ ok: true, event: { id: 'a', note: null } })
  })

  test('with a field that is no longer declared loses it', () => {
    expect(readBy([id, at], [note, id, amount, at], { note: 'x', id: 'a', amount: 1.5, at: 6 })).toEqual({
      ok: true,
      event: { id: 'a', at: 6 },
    })
  })

  test('with a field that was required is one with it', () => {
    const required: FieldPlan = { ...note, optional: false }
    expect(readBy([id, note], [id, required], { id: 'a', note: 'x' })).toMatchObject({ event: { note: 'x' } })
    expect(readBy([id, required], [id, note], { id: 'a', note: 'x' })).toMatchObject({ event: { note: 'x' } })
  })

  test.each([
    ['does not carry', [id], { id: 'a' }],
    ['leaves null', [id, { ...amount, optional: true }], { id: 'a', amount: null }],
  ])('of a writer that %s what is required is refused, with its path', (_, written, event) => {
    expect(readBy([id, amount], written, event)).toEqual({
      ok: false,
      problems: [{ path: '/amount', code: 'missing', expected: 'a finite number', received: 'null' }],
    })
  })

  test('whose whole numbers became fractions is exact, or rejected', () => {
    const whole: FieldPlan = { ...amount, kind: 'integer' }
    for (const value of [3, -(2 ** 52) - 1, Number.MAX_SAFE_INTEGER]) {
      expect(readBy([id, amount], [id, whole], { id: 'a', amount: value })).toMatchObject({ event: { amount: value } })
    }
    const schema = recordOf({ id: 'string', amount: 'long' })
    const large = Buffer.from([0, 0, 0, 0, 7, 2, 0x61, ...Buffer.from('feffffffffffffffff01', 'hex')])
    expect(readConfluent([id, amount], schema, large)).toMatchObject({
      problems: [{ code: 'not_avro', received: 'a whole number is beyond 2^53' }],
    })
  })

  test('of another type is rejected as a whole', () => {
    expect(readBy([id, amount], [id, { ...amount, kind: 'text' }], { id: 'a', amount: '1' })).toEqual({
      ok: false,
      problems: [
        {
          path: '',
          code: 'schema_incompatible',
          expected: 'a schema whose records can be read as orders',
          received: expect.stringMatching(
            /^schema fingerprint [0-9a-f]{16}: cannot read "string" as \["null","double"\]/,
          ),
        },
      ],
    })
  })

  test('of an unannounced schema is rejected', () => {
    const writer = createEventCodec('orders', 'shop', [id])
    expect(createEventCodec('orders', 'shop', [id, note]).decode(writer.encode({ id: 'a' }))).toMatchObject({
      problems: [{ code: 'schema_unknown', received: expect.stringMatching(/^schema fingerprint [0-9a-f]{16}$/) }],
    })
  })
})

describe('an event in the Confluent wire format', () => {
  const schema = recordOf({ extra: { type: 'map', values: 'long' }, at: 'long', amount: ['null', 'int'], id: 'string' })
  const bytes = confluent(schema, { extra: { a: 1 }, at: 9, amount: 3, id: 'a' })

  test('is read for any record name', () => {
    const expected = { ok: true, event: { id: 'a', amount: 3, at: 9 } }
    expect(readConfluent([id, amount, at], schema, bytes)).toEqual(expected)
  })

  test.each([
    [bytes.subarray(0, bytes.length - 1), 'the record is cut short'],
    [Buffer.concat([bytes, Buffer.from('x')]), '1 bytes are left over after the record'],
  ])('is refused when it is none', (damaged, received) => {
    expect(readConfluent([id], schema, damaged)).toMatchObject({ problems: [{ code: 'not_avro', received }] })
  })

  test('with instants finer than milliseconds is rejected, for an instant only', () => {
    const micros = recordOf({ id: 'string', at: { type: 'long', logicalType: 'timestamp-micros' } })
    const written = confluent(micros, { id: 'a', at: 9 })
    expect(readConfluent([id, at], micros, written)).toMatchObject({ problems: [{ code: 'schema_incompatible' }] })
    const count: FieldPlan = { name: 'at', kind: 'integer', optional: false }
    expect(readConfluent([id, count], micros, written)).toEqual({ ok: true, event: { id: 'a', at: 9 } })
  })

  test('needs a registry, and an id that is there and is one of Avro', () => {
    const writers = createWriterSchemas()
    const codec = createEventCodec('orders', 'shop', [id], writers)
    const received = 'schema id 7'
    expect(codec.decode(bytes)).toMatchObject({
      problems: [
        {
          code: 'schema_unknown',
          expected: 'SCHEMA_REGISTRY_URL to be set, since the record is in the Confluent wire format',
          received,
        },
      ],
    })
    writers.hasRegistry = true
    expect(codec.decode(bytes)).toMatchObject({
      problems: [{ code: 'schema_unknown', expected: 'an id of the schema registry for orders', received }],
    })
    writers.learnId(7, { notAvro: 'a JSON schema' })
    expect(codec.decode(bytes)).toMatchObject({
      problems: [{ code: 'schema_incompatible', expected: 'an Avro schema for orders', received: 'a JSON schema' }],
    })
    writers.learnId(8, avroType('string'))
    expect(codec.decode(Buffer.from([0, 0, 0, 0, 8, 2, 0x61]))).toMatchObject({
      problems: [{ code: 'schema_incompatible' }],
    })
  })
})

interface ShopOptions {
  readonly fields?: FieldSpecs
  readonly features?: (orders: ReturnType<typeof shopOrders>, buyer: Entity) => Record<string, Feature>
}

const returned = stream('returned', {
  id: 'id',
  key: 'id',
  time: 'at',
  fields: { id: text(), at: timestamp() },
})

const shopOrders = (fields: FieldSpecs) =>
  stream('orders', {
    id: 'id',
    key: 'buyer',
    time: 'at',
    fields: { id: text(), buyer: text(), shop: text(), at: timestamp(), amount: number({ optional: true }), ...fields },
  })

/** Two stages: what the first sends to the second is repartitioned. */
function shopPlan({ fields = {}, features = () => ({}) }: ShopOptions): Plan {
  const orders = shopOrders(fields)
  const buyer = entity('buyer', [orders.fields.buyer])
  const shop = entity('shop', [orders.fields.shop])
  return compile(
    definePipeline({
      name: 'shop',
      version: 1,
      scores: orders,
      features: {
        buyers: count(orders, { by: buyer, over: '1d' }),
        shops: count(orders, { by: shop, over: '1d' }),
        ...features(orders, buyer),
      } as Record<string, Feature>,
      label: { from: returned, value: 1, otherwise: { value: 0, after: '1d' } },
      model: logisticRegression(),
    }),
  )
}

function learnt(reader: Plan, writer: Plan): void {
  for (const schema of writer.schemas.writers.own.values()) reader.schemas.writers.learn(schema)
}

const extra = { note: text({ optional: true }), weight: number({ optional: true }) }
const plain = shopPlan({})
const wide = shopPlan({ fields: extra })

describe('a repartition record of another definition', () => {
  const repartitionOf = (plan: Plan) => plan.stages[0]!.repartitionOut!
  const values = { id: 'a', buyer: 'b', shop: 's', at: 5, amount: 2 }
  const sent = (plan: Plan, event: Record<string, string | number | null>): Buffer => {
    const repartition: RepartitionEvent = {
      kind: 'event',
      source: 1,
      stream: 0,
      origin: { partition: 1, offset: 2 },
      event,
      slots: repartitionOf(plan).slots.map((_, i) => i + 1),
      unsent: [],
      positions: [{ stage: 'buyer', partition: 1, next: [3] }],
    }
    return repartitionOf(plan).codec.encode(repartition)
  }

  test('is read where it carries all that is computed with', () => {
    learnt(wide, plain)
    const read = repartitionOf(wide).codec.decode(sent(plain, values)) as RepartitionEvent
    expect({ ...read.event }).toEqual({ ...values, note: null, weight: null })
    expect(read.slots).toEqual([1])
    learnt(plain, wide)
    const back = repartitionOf(plain).codec.decode(sent(wide, { ...values, note: 'n', weight: 3 })) as RepartitionEvent
    expect({ ...back.event }).toEqual(values)
    const watermark = repartitionOf(plain).codec.encode({
      kind: 'watermark',
      sources: [],
      observed: [],
      requestsProgress: false,
    })
    expect(repartitionOf(wide).codec.decode(watermark)).toEqual({
      kind: 'watermark',
      sources: [],
      observed: [],
      requestsProgress: false,
    })
  })

  test('is rejected where it lacks a field that something is computed from', () => {
    const scored = shopPlan({ fields: extra, features: (orders) => ({ weight: orders.fields['weight' as 'amount'] }) })
    learnt(scored, plain)
    const bytes = sent(plain, values)
    expect(() => repartitionOf(scored).codec.decode(bytes)).toThrow(
      expect.objectContaining({
        code: 'record_unreadable',
        message: expect.stringMatching(
          `^A shop repartition record was written with the schema ${bytes.subarray(2, 10).toString('hex')}, which this ` +
            'definition cannot read as its own [0-9a-f]{16}: no matching field for default-less millrace.shop.orders.weight',
        ),
      }),
    )
  })
})

describe('a slot of a repartition record', () => {
  const summing = shopPlan({
    features: ({ fields }, buyer) => ({ spent: sum(fields.amount, { by: buyer, over: '1d' }) }),
  })
  const repartitionOf = (plan: Plan) => plan.stages[0]!.repartitionOut!
  const sent = (plan: Plan, slots: readonly number[]): Buffer => {
    const event = { id: 'a', buyer: 'b', shop: 's', at: 5, amount: 2 }
    return repartitionOf(plan).codec.encode({
      ...{
        kind: 'event',
        source: 0,
        stream: 0,
        origin: { partition: 0, offset: 2 },
        event,
        slots,
        unsent: [],
        positions: [],
      },
    } as RepartitionEvent)
  }

  test('that is not there is no missing value: it is named beside the others', () => {
    learnt(summing, plain)
    const [known, added] = repartitionOf(summing).slots.map(({ name }) => name)
    expect([known, added]).toEqual([expect.stringContaining('count'), expect.stringContaining('sum')])
    expect(repartitionOf(summing).codec.decode(sent(plain, [1]))).toMatchObject({
      slots: [1, Number.NaN],
      unsent: [added],
    })
    expect(repartitionOf(summing).codec.decode(sent(summing, [1, Number.NaN]))).toMatchObject({ unsent: [] })
  })

  test('that is no longer needed is skipped', () => {
    learnt(plain, summing)
    expect(repartitionOf(summing).slots.length).toBe(2)
    expect(repartitionOf(plain).codec.decode(sent(summing, [1, 7]))).toMatchObject({ slots: [1] })
  })
})

describe('a prediction of another definition', () => {
  const prediction = {
    id: 'a',
    time: 5,
    score: null,
    modelVersion: null,
    fingerprint: 'f',
    origin: { partition: 0, offset: 1 },
    positions: [],
    reasons: [],
    shadow: [],
  }

  test('has no value for the features that it did not know', () => {
    const more = shopPlan({ features: ({ fields }) => ({ amount: fields.amount }) })
    learnt(more, plain)
    learnt(plain, more)
    const old = plain.predictions.codec.encode({ ...prediction, features: [1, 2] })
    expect(more.predictions.codec.decode(old).features).toEqual([1, 2, Number.NaN])
    const wider = more.predictions.codec.encode({ ...prediction, features: [1, 2, 3] })
    expect(plain.predictions.codec.decode(wider).features).toEqual([1, 2])
  })
})

describe('records from before challengers and lineage', () => {
  /** A definition of then: the same record without the fields that came since. */
  function writtenBefore(schema: object, without: readonly string[], record: Record<string, unknown>): Buffer {
    const then = { ...(schema as { fields: readonly { name: string }[] }) }
    then.fields = then.fields.filter(({ name }) => !without.includes(name))
    plain.schemas.writers.learn(then as unknown as Record<string, unknown>)
    const type = avroType(then)
    return Buffer.concat([Buffer.from([0xc3, 0x01]), fingerprintBytes(type), type.toBuffer(record)])
  }

  test('a prediction has no shadow scores', () => {
    const { codec } = plain.predictions
    const features = Object.fromEntries(plain.features.map(({ name }) => [name, 1]))
    const origin = { partition: 0, offset: 1 }
    const record = { id: 'a', time: 5, score: 0.5, modelVersion: 'v1', features, fingerprint: 'f', origin }
    const old = writtenBefore(codec.schemas.get('prediction')!, ['shadow'], { ...record, positions: [], reasons: [] })
    expect(codec.decode(old)).toMatchObject({ id: 'a', score: 0.5, shadow: [] })
  })

  test('a change of an alias is a plain one', () => {
    const { codec } = plain.models
    const change = { alias: 'champion', version: 'v1', previous: null, changedAtMs: 5, by: 'b', reason: 'r' }
    const oldChange = writtenBefore(codec.schemas.get('alias_change')!, ['action'], change)
    expect(codec.decode(oldChange)).toEqual({ ...change, kind: 'alias', action: 'set' })
  })

  test('a former reader skips a removal and takes the rest', () => {
    const { codec } = plain.models
    const schema = codec.schemas.get('alias_change') as { fields: readonly { name: string }[] }
    const then = avroType({ ...schema, fields: schema.fields.filter(({ name }) => name !== 'action') })
    const removal = codec.encode({
      kind: 'alias',
      alias: 'challenger-1',
      version: null,
      previous: 'v1',
      changedAtMs: 5,
      by: 'b',
      reason: 'r',
      action: 'set',
    })
    const read = then.fromBuffer(removal.subarray(10), then.createResolver(avroType(schema))) as { version: string }
    expect(read).toMatchObject({ alias: 'challenger-1', version: '', previous: 'v1' })
  })
})
