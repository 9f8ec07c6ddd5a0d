import { readFileSync } from 'node:fs'
import avro from 'avsc'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { FieldKind, FieldPlan, FieldValue } from '../../schemas/kernel/event.ts'
import type { ModelWeights } from '../../schemas/models/models.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { fingerprintBytes } from '../../schemas/wire/avro-fingerprint.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'
import { avroName } from '../../schemas/wire/record-codecs.ts'
import type {
  AliasChange,
  DeadLetter,
  ModelVersion,
  Prediction,
  RepartitionRecord,
  VersionNote,
} from '../../schemas/wire/records.ts'
import { soundPipeline } from './shop-definition.ts'

const seed = 20260816
const plan = compile(cardFraud)
const repartition = plan.stages[0]!.repartitionOut!
/** Its events have fields of every kind, missing ones among them. */
const shopPlan = compile(soundPipeline)
const shopRepartition = shopPlan.stages[0]!.repartitionOut!

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const name = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 12 })
const whole = fc.maxSafeNat()
const time = fc.integer({ min: 0, max: 253_402_300_799_999 })
const partition = fc.nat(1_023)
/** Any bits but those of NaN, which represents missing. */
const value = fc.double({ noNaN: true })
const orMissing = fc.oneof(value, fc.constant(Number.NaN))
const bytes = fc.uint8Array({ maxLength: 200 }).map((given) => Buffer.from(given))
const listOf = <T>(item: fc.Arbitrary<T>, length: number) => fc.array(item, { minLength: length, maxLength: length })

const origin = fc.record({ partition, offset: whole })
const positions = fc.array(fc.record({ stage: name, partition, next: fc.array(whole, { maxLength: 4 }) }), {
  maxLength: 3,
})
const repartitionPosition = fc.record({ time, order: partition })
const sourceProgress = fc.record({
  source: partition,
  watermark: time,
  order: partition,
  retentionWatermark: fc.option(time),
  idle: fc.boolean(),
  idleUpTo: fc.option(repartitionPosition),
  caughtUp: fc.boolean(),
  advancing: fc.boolean(),
})

function fieldValue({ kind, optional }: FieldPlan): fc.Arbitrary<FieldValue> {
  const ofKind: Record<FieldKind, fc.Arbitrary<FieldValue>> = {
    text,
    number: value,
    integer: fc.maxSafeInteger(),
    timestamp: time,
    flag: fc.boolean(),
  }
  return optional ? fc.option(ofKind[kind]) : ofKind[kind]
}
const eventOf = (stream: number) =>
  fc.record(Object.fromEntries(shopPlan.streams[stream]!.fields.map((field) => [field.name, fieldValue(field)])))

const prediction: fc.Arbitrary<Prediction> = fc.record({
  id: text,
  time,
  score: fc.option(value),
  modelVersion: fc.option(name),
  features: listOf(orMissing, plan.features.length),
  fingerprint: name,
  origin,
  positions,
  reasons: fc.array(fc.record({ feature: name, contribution: value }), { maxLength: 3 }),
  shadow: fc.array(fc.record({ version: name, score: value }), { maxLength: 3 }),
})

const problem = fc.record({ path: text, code: fc.constantFrom('late', 'type'), expected: text, received: text })
const rejection: fc.Arbitrary<DeadLetter> = fc.record({
  stage: name,
  topic: name,
  partition,
  offset: whole,
  appendedAtMs: time,
  key: fc.option(bytes),
  keyBytes: fc.option(whole),
  value: fc.option(bytes),
  valueBytes: fc.option(whole),
  headers: fc.dictionary(name, bytes, { maxKeys: 3 }),
  attempt: fc.nat(1_000_000),
  problems: fc.array(problem, { maxLength: 4 }),
})

const float = fc.float({ noNaN: true })
const scaled = (length: number) => ({
  features: listOf(name, length),
  means: listOf(value, length),
  scales: listOf(value, length),
})
const layer = fc.record({ weights: fc.array(float, { maxLength: 9 }), biases: fc.array(float, { maxLength: 3 }) })
const features = fc.array(name, { maxLength: 20 })
const weights: fc.Arbitrary<ModelWeights> = fc.nat(20).chain((length) =>
  fc.oneof(
    fc.record({
      kind: fc.constant('logistic' as const),
      ...scaled(length),
      weights: listOf(value, length),
      intercept: value,
    }),
    fc.record({
      kind: fc.constant('mlp' as const),
      ...scaled(length),
      units: listOf(value, length),
      layers: fc.array(layer, { maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant('prior' as const), features, probability: value }),
    fc.record({ kind: fc.constant('own' as const), name, features, json: text }),
  ),
)
const version: fc.Arbitrary<ModelVersion> = fc.record({
  kind: fc.constant('version'),
  version: name,
  createdAtMs: time,
  fingerprint: name,
  identities: fc.dictionary(fc.constantFrom('amount', 'hour'), name),
  seed: whole,
  model: weights,
  metrics: fc.dictionary(fc.constantFrom('rows', 'averagePrecision', 'logLoss'), value),
  trainedOn: fc.array(fc.record({ topic: name, partition, offset: whole }), { maxLength: 4 }),
  parent: fc.option(name),
  origin: fc.constantFrom('retrain', 'continuous', 'import', 'manual'),
})
const alias: fc.Arbitrary<AliasChange> = fc.record({
  kind: fc.constant('alias'),
  alias: name,
  version: fc.option(name),
  previous: fc.option(name),
  changedAtMs: time,
  by: text,
  reason: text,
  action: fc.constantFrom('set', 'rollback', 'restore'),
})
const note: fc.Arbitrary<VersionNote> = fc.record({
  kind: fc.constant('note'),
  note: name,
  version: name,
  against: fc.option(name),
  notedAtMs: time,
  by: text,
  reason: text,
  figures: fc.dictionary(name, value, { maxKeys: 4 }),
})

const watermark: fc.Arbitrary<RepartitionRecord> = fc.record({
  kind: fc.constant('watermark'),
  sources: fc.array(sourceProgress, { maxLength: 5 }),
  observed: fc.array(repartitionPosition, { maxLength: 5 }),
  requestsProgress: fc.boolean(),
})
const scored: fc.Arbitrary<RepartitionRecord> = fc.record({
  kind: fc.constant('event'),
  source: partition,
  stream: fc.constant(0),
  origin,
  event: eventOf(0),
  slots: listOf(orMissing, shopRepartition.slots.length),
  unsent: fc.constant([]),
  positions,
})
const unscored: fc.Arbitrary<RepartitionRecord> = fc.record({
  kind: fc.constant('event'),
  source: partition,
  stream: fc.constant(1),
  origin,
  event: eventOf(1),
  slots: fc.constant([]),
  unsent: fc.constant([]),
  positions: fc.constant([]),
})

/** Each record type with its codec and what its codec calls itself in errors. */
const cases: ReadonlyArray<[kind: string, what: string, codec: RecordCodec<unknown>, record: fc.Arbitrary<unknown>]> = [
  ['repartition watermark', 'shop repartition', shopRepartition.codec as RecordCodec<unknown>, watermark],
  ['scored repartition event', 'shop repartition', shopRepartition.codec as RecordCodec<unknown>, scored],
  ['other repartition event', 'shop repartition', shopRepartition.codec as RecordCodec<unknown>, unscored],
  ['prediction', 'prediction', plan.predictions.codec as RecordCodec<unknown>, prediction],
  ['rejection', 'rejection', plan.rejected.codec as RecordCodec<unknown>, rejection],
  ['model version', 'registry', plan.models.codec as RecordCodec<unknown>, version],
  ['alias change', 'registry', plan.models.codec as RecordCodec<unknown>, alias],
  ['version note', 'registry', plan.models.codec as RecordCodec<unknown>, note],
]

describe.each(cases)('a %s', (_, what, codec, record) => {
  // `toEqual` compares numbers with `Object.is`: -0 is not 0, and NaN is NaN.
  test('comes back as it was, to the bit', () => {
    fc.assert(
      fc.property(record, (given) => {
        expect(codec.decode(codec.encode(given))).toEqual(given)
      }),
      { seed, numRuns: 200 },
    )
  })

  test('is rejected when it is cut short or too long', () => {
    const [given] = fc.sample(record, { seed, numRuns: 1 })
    const encoded = codec.encode(given)
    for (let length = 10; length < encoded.length; length++) {
      expect(() => codec.decode(encoded.subarray(0, length)), `${length} bytes`).toThrow(
        expect.objectContaining({ code: 'record_unreadable' }),
      )
    }
    expect(() => codec.decode(Buffer.concat([encoded, Buffer.from([0])]))).toThrow(
      `A ${what} record could not be decoded: 1 bytes are left over after the record.`,
    )
    expect(() => codec.decode(encoded.subarray(0, 9))).toThrow(
      `A ${what} record could not be decoded: the record is cut short.`,
    )
  })

  test('is rejected when it is another record', () => {
    const other = plan.scored.codec.encode({ txId: 't', customerId: 'c', terminalId: 'm', amount: 1, at: 0 })
    expect(() => codec.decode(other)).toThrow(
      expect.objectContaining({
        code: 'record_unreadable',
        message: expect.stringMatching(`^A ${what} record was written with the schema 93fdd64ff43cfa98, which `),
      }),
    )
    expect(() => codec.decode(Buffer.from('[]'))).toThrow(`A ${what} record is none: it begins with 5b5d.`)
    expect(() => codec.decode(Buffer.alloc(0))).toThrow(`A ${what} record is none: it begins with .`)
  })

  test('has schemas that another reader takes', () => {
    for (const schema of codec.schemas.values()) {
      expect(avro.Type.forSchema(JSON.parse(JSON.stringify(schema)) as avro.Schema).typeName).toBe('record')
    }
  })
})

describe('a model version', () => {
  const origin = { topic: 'p', partition: 1, offset: 9 }
  const lineage = { parent: null, origin: 'manual' as const }
  const written = {
    version: 'v1',
    createdAtMs: 5,
    fingerprint: 'f',
    identities: {},
    seed: 1,
    metrics: { auc: 0.5 },
    trainedOn: [origin],
  }
  const base = { ...written, ...lineage }
  const logistic = {
    kind: 'logistic',
    features: ['amount', 'night'],
    means: [1, 0.1],
    scales: [2, 0.5],
    weights: [-0, 3],
    intercept: -4,
  }

  test('of before there were several kinds of models is read as it was', () => {
    const written = JSON.parse(readFileSync(new URL('fixtures/model-version-1.json', import.meta.url), 'utf8')) as never
    const old = compile(cardFraud).models.codec
    plan.schemas.writers.learn(written)
    const type = avro.Type.forSchema(written)
    const header = Buffer.concat([Buffer.from([0xc3, 1]), fingerprintBytes(type)])
    const bytes = Buffer.concat([header, type.toBuffer({ ...base, model: logistic })])
    expect(plan.models.codec.decode(bytes)).toEqual({ kind: 'version', ...base, model: logistic })
    expect(() => old.decode(bytes)).toThrow('which neither this definition nor its topic of schemas has')
  })

  test('of a network of 64 and 32 units takes 13 kB', () => {
    const zeros = (length: number) => new Array<number>(length).fill(0.1)
    const layers = [
      { weights: zeros(15 * 64), biases: zeros(64) },
      { weights: zeros(64 * 32), biases: zeros(32) },
      { weights: zeros(32), biases: zeros(1) },
    ]
    const names = plan.features.map(({ name }) => name)
    const model = {
      kind: 'mlp' as const,
      features: names,
      units: zeros(15),
      means: zeros(15),
      scales: zeros(15),
      layers,
    }
    expect(plan.models.codec.encode({ kind: 'version', ...base, model }).length).toBeLessThan(13_500)
  })
})

describe('a prediction', () => {
  const base: Prediction = {
    id: 'tx1',
    time: 1_525_132_800_000,
    score: 0.25,
    modelVersion: 'v1',
    features: plan.features.map((_, i) => i),
    fingerprint: plan.fingerprint,
    origin: { partition: 3, offset: 99 },
    positions: [{ stage: 'customer', partition: 3, next: [100, 7] }],
    reasons: [{ feature: 'amount', contribution: 0.5 }],
    shadow: [{ version: 'v2', score: 0.5 }],
  }

  test('writes missing values as null, for readers of any language', () => {
    const encoded = plan.predictions.codec.encode({ ...base, features: [Number.NaN, -0, ...base.features.slice(2)] })
    const schema = plan.predictions.codec.schemas.get('prediction') as avro.Schema
    const { features } = avro.Type.forSchema(schema).fromBuffer(encoded.subarray(10)) as { features: object }
    const names = plan.features.map((feature) => feature.name)
    const values = Object.fromEntries(names.map((feature, i) => [feature, i === 0 ? null : i === 1 ? -0 : i]))
    expect({ ...features }).toEqual(values)
  })

  test('has no score and no version while there is no model', () => {
    const unscored = { ...base, score: null, modelVersion: null, reasons: [] }
    expect(plan.predictions.codec.decode(plan.predictions.codec.encode(unscored))).toEqual(unscored)
  })

  test('lacks what is left out at the end of its vector', () => {
    const { features } = plan.predictions.codec.decode(plan.predictions.codec.encode({ ...base, features: [1] }))
    expect(features).toEqual([1, ...new Array(plan.features.length - 1).fill(Number.NaN)])
  })
})

describe('a rejection', () => {
  test('keeps the original bytes, after the batch that they came in was reused', () => {
    const given: DeadLetter = {
      stage: 'customer',
      topic: 'transactions',
      partition: 0,
      offset: 1,
      appendedAtMs: 5,
      key: Buffer.from('key'),
      keyBytes: 3,
      value: Buffer.alloc(0),
      valueBytes: 0,
      headers: { trace: Buffer.from([0xff]) },
      attempt: 2,
      problems: [],
    }
    const encoded = plan.rejected.codec.encode(given)
    const decoded = plan.rejected.codec.decode(encoded)
    encoded.fill(0)
    expect(decoded).toEqual(given)
    expect(plan.rejected.codec.decode(plan.rejected.codec.encode({ ...given, key: null, value: null }))).toEqual({
      ...given,
      key: null,
      value: null,
    })
  })
})

describe('the schemas', () => {
  test('are one a record type, under the pipeline’s namespace', () => {
    const all = [repartition.codec, plan.predictions.codec, plan.rejected.codec, plan.models.codec, plan.scored.codec]
    const names = all.map(({ schemas }) => [...schemas.entries()])
    expect(names.map((entries) => entries.map(([key]) => key))).toEqual([
      ['terminal_transactions', 'terminal_chargebacks', 'terminal_mark'],
      ['prediction'],
      ['rejection'],
      ['model_version', 'alias_change', 'version_note'],
      ['transactions'],
    ])
    for (const [key, schema] of names.flat()) {
      expect(schema).toMatchObject({ type: 'record', name: key, namespace: 'millrace.card_fraud' })
    }
  })

  test('carry slots with the scored stream only', () => {
    const fieldsOf = (record: string) =>
      (repartition.codec.schemas.get(record) as { fields: Array<{ name: string }> }).fields.map((field) => field.name)
    expect(fieldsOf('terminal_transactions')).toEqual(['source', 'origin', 'event', 'slots', 'positions'])
    expect(fieldsOf('terminal_chargebacks')).toEqual(['source', 'origin', 'event'])
    expect(fieldsOf('terminal_mark')).toEqual(['sources', 'heard', 'asks'])
  })

  test('are named with letters, digits and underscores', () => {
    expect(avroName('card-fraud.v2')).toBe('card_fraud_v2')
    expect(avroName('größe')).toBe('gr__e')
  })
})
