/** What a definition promises to the compiler. Never run: `tsc` proves that the right ones compile and the wrong ones do not. */
import { describe, expectTypeOf, test } from 'vitest'
import type cardFraud from '../../pipelines/card-fraud.ts'
import {
  type Aggregate,
  better,
  count,
  customModel,
  type Derived,
  definePipeline,
  derive,
  entity,
  type FeatureValues,
  type FieldRef,
  flag,
  integer,
  max,
  mean,
  min,
  mlp,
  number,
  type Pipeline,
  prior,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { buyer, orders, returns, sound } from './shop-definition.ts'

const fields = { orderId: text(), amount: number(), pieces: integer(), gift: flag(), at: timestamp() }
const over = '1d'

describe('fields of a stream', () => {
  test('keep their names and types', () => {
    expectTypeOf(orders.fields.amount).toEqualTypeOf<FieldRef<number, 'number'>>()
    expectTypeOf(orders.fields.pieces).toEqualTypeOf<FieldRef<number, 'integer'>>()
    expectTypeOf(orders.fields.at).toEqualTypeOf<FieldRef<number, 'timestamp'>>()
    expectTypeOf(orders.fields.gift).toEqualTypeOf<FieldRef<boolean, 'flag'>>()
    expectTypeOf(orders.fields.weight).toEqualTypeOf<FieldRef<number | null, 'number'>>()
    expectTypeOf(orders.fields.shopId).toEqualTypeOf<FieldRef<string, 'text'>>()
    // @ts-expect-error a misspelt field
    orders.fields.amuont
  })

  test('fill the roles of their kind', () => {
    stream('orders', { id: 'orderId', key: 'orderId', time: 'at', fields })
    // @ts-expect-error an id that is a number
    stream('orders', { id: 'amount', key: 'orderId', time: 'at', fields })
    // @ts-expect-error an id that is no field
    stream('orders', { id: 'orderNo', key: 'orderId', time: 'at', fields })
    // @ts-expect-error a key that is a flag
    stream('orders', { id: 'orderId', key: 'gift', time: 'at', fields })
    // @ts-expect-error a key that is no field
    stream('orders', { id: 'orderId', key: 'buyerId', time: 'at', fields })
    // @ts-expect-error a time that is a number
    stream('orders', { id: 'orderId', key: 'orderId', time: 'amount', fields })
    const more = { ...fields, note: text({ optional: true }), seen: timestamp({ optional: true }) }
    // @ts-expect-error an id that may be missing
    stream('orders', { id: 'note', key: 'orderId', time: 'at', fields: more })
    // @ts-expect-error a time that may be missing
    stream('orders', { id: 'orderId', key: 'orderId', time: 'seen', fields: more })
    // @ts-expect-error a misspelt option
    stream('orders', { id: 'orderId', key: 'orderId', time: 'at', fields, latenes: '1d' })
    // @ts-expect-error a time that is text
    stream('orders', { id: 'orderId', key: 'orderId', time: 'orderId', fields })
    // @ts-expect-error a time that is no field
    stream('orders', { id: 'orderId', key: 'orderId', time: 'when', fields })
    // @ts-expect-error no time
    stream('orders', { id: 'orderId', key: 'orderId', fields })
    // @ts-expect-error no duration
    stream('orders', { id: 'orderId', key: 'orderId', time: 'at', fields, lateness: '1 day' })
  })

  test('take the options of their kind', () => {
    number({ min: 0, max: 1, decimals: 2, optional: true })
    integer({ min: 0, max: 1, optional: true })
    text({ lengthMax: 5, optional: true })
    // @ts-expect-error decimals of a whole number
    integer({ decimals: 2 })
    // @ts-expect-error a range of text
    text({ min: 1 })
    // @ts-expect-error a misspelt option
    number({ mni: 0 })
  })
})

describe('entities and aggregates', () => {
  test('take fields of the right type', () => {
    entity('buyer', [orders.fields.buyerId, returns.fields.buyerId])
    // @ts-expect-error a key that is a number
    entity('buyer', [orders.fields.amount])
    expectTypeOf(mean(orders.fields.amount, { by: buyer, over })).toEqualTypeOf<Aggregate>()
    count(returns, { by: buyer, over, lag: '7d', at: returns.fields.orderedAt })
    // @ts-expect-error the mean of text
    mean(orders.fields.shopId, { by: buyer, over })
    expectTypeOf(max(orders.fields.at, { by: buyer, over })).toEqualTypeOf<Aggregate>()
    expectTypeOf(sum(orders.fields.weight, { by: buyer, over })).toEqualTypeOf<Aggregate>()
    // @ts-expect-error a timestamp field that is a number
    count(returns, { by: buyer, over, at: returns.fields.refund })
    // @ts-expect-error a timestamp field that may be missing
    count(orders, { by: buyer, over, at: orders.fields.sentAt })
    // @ts-expect-error a key that may be missing
    entity('note', [orders.fields.note])
    // @ts-expect-error the sum of flags
    sum(orders.fields.gift, { by: buyer, over })
    // @ts-expect-error a misspelt field
    min(orders.fields.amuont, { by: buyer, over })
    // @ts-expect-error a timestamp field that is text
    count(returns, { by: buyer, over, at: returns.fields.shopId })
    // @ts-expect-error a misspelt timestamp field, which would count as none in JavaScript
    count(returns, { by: buyer, over, at: returns.fields.orderdAt })
    // @ts-expect-error no duration
    count(orders, { by: buyer, over: '1 day' })
    // @ts-expect-error no window
    count(orders, { by: buyer })
    // @ts-expect-error an entity by name
    count(orders, { by: 'buyer', over })
  })
})

describe('derived values', () => {
  test('hand each input over in its own type', () => {
    const { shopId, amount, pieces, gift, at } = orders.fields
    const inner = derive([amount], (value) => value)
    expectTypeOf(inner).toEqualTypeOf<Derived>()
    derive([shopId, amount, pieces, gift, at, count(orders, { by: buyer, over }), inner], (a, b, c, d, e, f, g) => {
      expectTypeOf(a).toEqualTypeOf<string>()
      expectTypeOf(b).toEqualTypeOf<number>()
      expectTypeOf(c).toEqualTypeOf<number>()
      expectTypeOf(d).toEqualTypeOf<boolean>()
      expectTypeOf(e).toEqualTypeOf<number>()
      expectTypeOf(f).toEqualTypeOf<number>()
      expectTypeOf(g).toEqualTypeOf<number>()
      return 1
    })
    derive([amount], () => null)
  })

  test('reject functions that do not fit', () => {
    const { shopId, amount } = orders.fields
    // @ts-expect-error text taken for a number
    derive([shopId], (value: number) => value)
    // @ts-expect-error more parameters than inputs
    derive([amount], (value, other) => value + other)
    // @ts-expect-error an answer that is text
    derive([amount], (value) => `${value}`)
    // @ts-expect-error an answer that is a flag
    derive([amount], (value) => value > 1)
    // @ts-expect-error a misspelt input
    derive([orders.fields.amuont], () => 1)
  })
})

describe('pipelines', () => {
  test('take numbers, flags, aggregates and derived values into the vector', () => {
    expectTypeOf(definePipeline(sound)).toExtend<Pipeline>()
    // @ts-expect-error text in the vector
    definePipeline({ ...sound, features: { shop: orders.fields.shopId } })
    // @ts-expect-error a misspelt field in the vector
    definePipeline({ ...sound, features: { amount: orders.fields.amuont } })
    // @ts-expect-error a stream by name
    definePipeline({ ...sound, scores: 'orders' })
    // @ts-expect-error a label without what holds otherwise
    definePipeline({ ...sound, label: { from: returns, value: 1 } })
    const { otherwise } = sound.label
    definePipeline({ ...sound, label: { from: returns, value: returns.fields.refund, otherwise } })
    definePipeline({ ...sound, label: { from: orders, value: orders.fields.gift, otherwise } })
    // @ts-expect-error a label that is an instant
    definePipeline({ ...sound, label: { from: returns, value: returns.fields.orderedAt, otherwise } })
    // @ts-expect-error a label that is neither 0 nor 1
    definePipeline({ ...sound, label: { from: returns, value: 2, otherwise } })
    // @ts-expect-error a retraining without an occasion
    definePipeline({ ...sound, learn: { retrain: { over: '28d' } } })
    // @ts-expect-error a label that is text
    definePipeline({ ...sound, label: { from: returns, value: returns.fields.shopId, otherwise } })
    // @ts-expect-error a misspelt field
    definePipeline({ ...sound, label: { from: returns, value: returns.fields.refnud, otherwise } })
  })

  test('take a model and a way of learning', () => {
    definePipeline({ ...sound, model: mlp({ hidden: [64, 32] }), learn: { continuously: true } })
    definePipeline({ ...sound, model: prior(), learn: { retrain: { every: '1d' }, promoteIf: better('auc') } })
    // @ts-expect-error a network without layers
    mlp({})
    // @ts-expect-error a misspelt option
    mlp({ hidden: [8], epoch: 3 })
    // @ts-expect-error a model by name
    definePipeline({ ...sound, model: 'mlp' })
    // @ts-expect-error no duration
    definePipeline({ ...sound, learn: { retrain: { every: 'daily' } } })
    // @ts-expect-error a measure that there is not
    better('accuracy')
    // @ts-expect-error a misspelt part
    definePipeline({ ...sound, learn: { continously: true } })
  })

  test('hand a model of their own its own weights', () => {
    customModel({
      name: 'nearest',
      fit: ({ rows, labels }, { seed }) => ({ seed, first: rows[0] ?? 0, label: labels[0] ?? 0 }),
      predictor: (weights) => {
        expectTypeOf(weights).toEqualTypeOf<{ seed: number; first: number; label: number }>()
        return (vector) => (vector[0] === weights.first ? 1 : 0)
      },
    })
    // @ts-expect-error a predictor of other weights
    customModel({ name: 'other', fit: () => 1, predictor: (weights: string) => () => weights.length })
    // @ts-expect-error no predictor
    customModel({ name: 'none', fit: () => 1 })
  })

  test('know the names of their vector', () => {
    type Values = FeatureValues<typeof cardFraud>
    type Names =
      | 'amount'
      | 'weekend'
      | 'night'
      | 'customerCount1d'
      | 'customerMean1d'
      | 'customerCount7d'
      | 'customerMean7d'
      | 'customerCount30d'
      | 'customerMean30d'
      | 'terminalCount1d'
      | 'terminalRisk1d'
      | 'terminalCount7d'
      | 'terminalRisk7d'
      | 'terminalCount30d'
      | 'terminalRisk30d'
    expectTypeOf<Values>().toEqualTypeOf<{ readonly [name in Names]: number | null }>()
    const values = {} as Values
    expectTypeOf(values.terminalRisk7d).toEqualTypeOf<number | null>()
    // @ts-expect-error a misspelt feature
    values.terminalRisk8d
    // @ts-expect-error a vector is only read
    values.amount = 1
    expectTypeOf<FeatureValues<number>>().toBeNever()
  })
})
