import { describe, expect, test } from 'vitest'
import {
  count,
  type Definition,
  definePipeline,
  derive,
  entity,
  type Features,
  max,
  mean,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { buyer, orders, returns, shop, sound } from './shop-definition.ts'

const dayMs = 86_400_000
const compiled = (change: Partial<Definition<Features>>): Plan => compile(definePipeline({ ...sound, ...change }))

describe('aggregates', () => {
  test('written twice are one slot, however the durations are spelt', () => {
    const day = count(orders, { by: buyer, over: '1d', lag: '0s' })
    const hours = count(orders, { by: buyer, over: '24h' })
    const ratio = derive([day, hours], (a, b) => a / b)
    const lagged = count(orders, { by: buyer, over: '1440m', lag: '0.5d' })
    const plan = compiled({
      features: { day, hours, ratio, lagged, same: count(orders, { by: buyer, over: '1d', lag: '12h' }) },
    })
    expect(plan.slots.map((slot) => slot.name)).toEqual(['buyer_count_orders_1d', 'buyer_count_orders_1d_lag_12h'])
    const values = plan.features.map(({ compute }) => compute({}, [3, 5]))
    expect(values).toEqual([3, 3, 1, 5, 5])
  })

  test('that differ in kind, field, window, lag, stream or entity are slots of their own', () => {
    const { amount, weight } = orders.fields
    const window = { by: buyer, over: '1d' } as const
    const plan = compiled({
      features: {
        a: sum(amount, window),
        b: mean(amount, window),
        c: mean(weight, window),
        d: mean(amount, { ...window, over: '2d' }),
        e: mean(amount, { ...window, lag: '1d' }),
        f: mean(amount, { ...window, by: shop }),
        g: mean(returns.fields.refund, window),
      },
    })
    expect(plan.slots.map((slot) => slot.name)).toEqual([
      'buyer_sum_orders_amount_1d',
      'buyer_mean_orders_amount_1d',
      'buyer_mean_orders_weight_1d',
      'buyer_mean_orders_amount_2d',
      'buyer_mean_orders_amount_1d_lag_1d',
      'buyer_mean_returns_refund_1d',
      'shop_mean_orders_amount_1d',
    ])
  })

  test('share a column a field; streams share columns; whole numbers count as 10^0', () => {
    const window = { by: buyer, over: '1d' } as const
    const { amount, pieces, weight } = orders.fields
    const plan = compiled({
      features: {
        sum: sum(amount, window),
        mean: mean(amount, window),
        pieces: max(pieces, window),
        weight: mean(weight, window),
        refund: mean(returns.fields.refund, { ...window, at: returns.fields.orderedAt }),
      },
    })
    expect(plan.stages[0]!.entity.layout).toEqual({
      width: 8,
      knownColumn: 4,
      sources: [
        {
          stream: 0,
          atField: 'at',
          values: [
            { field: 'amount', column: 5, decimals: 2 },
            { field: 'pieces', column: 6, decimals: 0 },
            { field: 'weight', column: 7, decimals: null },
          ],
        },
        { stream: 1, atField: 'orderedAt', values: [{ field: 'refund', column: 5, decimals: null }] },
      ],
    })
    expect(plan.slots.map(({ column, decimals }) => [column, decimals])).toEqual([
      [5, 2],
      [5, 2],
      [6, 0],
      [7, null],
      [5, null],
    ])
  })
})

describe('stages', () => {
  test('one entity: one stage, no repartition topic', () => {
    const plan = compiled({ features: { count: count(orders, { by: buyer, over: '1d' }) } })
    expect(
      plan.stages.map(({ entity, repartitionIn, repartitionOut, rawStreams }) => [
        entity.name,
        repartitionIn,
        repartitionOut,
        rawStreams,
      ]),
    ).toEqual([['buyer', null, null, [0, 1]]])
    expect(plan.topics.map(({ role }) => role)).toEqual([
      'raw',
      'raw',
      'predictions',
      'rejected',
      'models',
      'schemas',
      'raw schemas',
      'raw schemas',
    ])
    expect(plan.stages[0]!.entity.retentionMs).toBe(2 * dayMs)
  })

  test('the entity of the scored stream’s key comes first, wherever it is written', () => {
    const plan = compiled({
      features: { shop: count(orders, { by: shop, over: '1d' }), buyer: count(orders, { by: buyer, over: '1d' }) },
    })
    expect(plan.stages.map(({ entity }) => entity.name)).toEqual(['buyer', 'shop'])
    expect(plan.slots.map(({ name, stage }) => [name, stage])).toEqual([
      ['buyer_count_orders_1d', 0],
      ['shop_count_orders_1d', 1],
    ])
    expect(plan.features.map(({ name, entity }) => [name, entity])).toEqual([
      ['shop', 'shop'],
      ['buyer', 'buyer'],
    ])
  })

  test('the scored stream leaves its ids in the last stage, too, which is where nothing is predicted twice', () => {
    const plan = compiled({
      features: { buyers: count(orders, { by: buyer, over: '1d' }), shops: count(returns, { by: shop, over: '1d' }) },
    })
    expect(plan.stages[1]!.entity.layout.sources.map(({ stream }) => stream)).toEqual([0, 1])
  })

  test('the scored stream leaves its ids in the first stage, even where only another stream is counted', () => {
    const plan = compiled({ features: { returned: count(returns, { by: buyer, over: '1d' }) } })
    expect(plan.stages[0]!.entity.layout).toEqual({
      width: 4,
      knownColumn: null,
      sources: [
        { stream: 0, atField: 'at', values: [] },
        { stream: 1, atField: 'returnedAt', values: [] },
      ],
    })
  })

  test('a label stream that no feature is computed from enters nowhere, or where its key leads', () => {
    const outcomes = stream('outcomes', {
      id: 'orderId',
      key: 'orderId',
      time: 'at',
      fields: { orderId: text(), at: timestamp() },
    })
    const plan = compiled({
      features: { count: count(orders, { by: buyer, over: '1d' }) },
      label: { from: outcomes, value: 1, otherwise: { value: 0, after: '1d' } },
    })
    expect(plan.streams.map(({ name, entersAt }) => [name, entersAt])).toEqual([
      ['orders', 0],
      ['outcomes', null],
    ])
    expect(plan.stages[0]!.rawStreams).toEqual([0])
    expect(plan.label.stream).toBe(1)
  })

  const visits = stream('visits', {
    id: 'visitId',
    key: 'shopId',
    time: 'at',
    topic: 'raw-visits',
    fields: { visitId: text(), shopId: text(), at: timestamp() },
  })
  const shops = entity('shop', [orders.fields.shopId, visits.fields.shopId])

  test('a stream that is keyed by the second entity enters there and is not repartitioned', () => {
    const plan = compiled({
      features: {
        count: count(orders, { by: buyer, over: '1d' }),
        visits: count(visits, { by: shops, over: '1d' }),
      },
    })
    expect(plan.streams.map(({ name, topic, entersAt }) => [name, topic, entersAt])).toEqual([
      ['orders', 'orders', 0],
      ['visits', 'raw-visits', 1],
      ['returns', 'returns', 0],
    ])
    expect(plan.stages.map(({ rawStreams }) => rawStreams)).toEqual([[0, 2], [1]])
    expect(plan.stages[0]!.repartitionOut!.streams).toEqual([0])
    expect([...plan.stages[1]!.entity.keyFields]).toEqual([
      [0, 'shopId'],
      [1, 'shopId'],
    ])
  })

  test('a stream that is rekeyed enters at a stage before all others, which carries it to the first entity', () => {
    const anywhere = stream('visits', {
      id: 'visitId',
      key: 'visitId',
      time: 'at',
      rekey: true,
      fields: { visitId: text(), shopId: text(), at: timestamp() },
    })
    const by = entity('shop', [orders.fields.shopId, anywhere.fields.shopId])
    const features = { buyers: count(orders, { by: buyer, over: '1d' }), shops: count(anywhere, { by, over: '1d' }) }
    const plan = compiled({ features })
    expect(
      plan.stages.map(({ kind, index, entity, rawStreams, repartitionIn }) => [
        kind,
        index,
        entity.name,
        rawStreams,
        repartitionIn && [repartitionIn.topic, repartitionIn.streams, repartitionIn.slots.length],
      ]),
    ).toEqual([
      ['rekey', 0, 'rekey', [1], null],
      ['entity', 1, 'buyer', [0, 2], ['returned-orders.buyer', [1], 0]],
      ['entity', 2, 'shop', [], ['returned-orders.shop', [0, 1], 1]],
    ])
    const [first] = plan.stages
    expect(first!.entity).toMatchObject({ layout: { width: 4, knownColumn: null, sources: [] }, slots: [] })
    expect(plan.streams.map(({ name, rekey, entersAt }) => [name, rekey, entersAt])).toEqual([
      ['orders', false, 1],
      ['visits', true, 0],
      ['returns', false, 1],
    ])
    expect(plan.slots.map(({ name, stage }) => [name, stage])).toEqual([
      ['buyer_count_orders_1d', 1],
      ['shop_count_visits_1d', 2],
    ])
    expect(plan.features.map(({ name, entity }) => [name, entity])).toEqual([
      ['buyers', 'buyer'],
      ['shops', 'shop'],
    ])
    expect(plan.topics.map(({ topic }) => topic)).toContain('returned-orders.buyer')
  })

  test('three entities: slots add up from stage to stage, and a stream is carried as far as it is needed', () => {
    const day = entity('note', [orders.fields.orderId, visits.fields.visitId])
    const plan = compiled({
      features: {
        buyers: count(orders, { by: buyer, over: '1d' }),
        returned: count(returns, { by: buyer, over: '1d' }),
        shops: count(orders, { by: shops, over: '2d' }),
        visits: count(visits, { by: shops, over: '2d', lag: '1d' }),
        notes: count(visits, { by: day, over: '5d' }),
        all: derive(
          [count(orders, { by: buyer, over: '1d' }), count(visits, { by: day, over: '5d' })],
          (a, b) => a + b,
        ),
      },
    })
    expect(plan.stages.map(({ index, entity, rawStreams }) => [index, entity.name, rawStreams])).toEqual([
      [0, 'buyer', [0, 1]],
      [1, 'shop', [2]],
      [2, 'note', []],
    ])
    const repartitions = plan.stages.map(
      ({ repartitionOut }) =>
        repartitionOut && [repartitionOut.topic, repartitionOut.streams, repartitionOut.slots.map((s) => s.name)],
    )
    const buyerSlots = ['buyer_count_orders_1d', 'buyer_count_returns_1d']
    const shopSlots = ['shop_count_orders_2d', 'shop_count_visits_2d_lag_1d']
    expect(repartitions).toEqual([
      ['returned-orders.shop', [0], buyerSlots],
      ['returned-orders.note', [0, 2], [...buyerSlots, ...shopSlots]],
      null,
    ])
    expect(plan.stages[1]!.repartitionIn).toBe(plan.stages[0]!.repartitionOut)
    expect(plan.stages[2]!.repartitionIn).toBe(plan.stages[1]!.repartitionOut)
    expect(plan.stages.map(({ entity }) => entity.retentionMs / dayMs)).toEqual([2, 4, 6])
    expect(plan.features.map(({ name, entity }) => `${name} ${entity}`)).toEqual([
      'buyers buyer',
      'returned buyer',
      'shops shop',
      'visits shop',
      'notes note',
      'all null',
    ])
    expect(plan.topics.map(({ topic }) => topic)).toEqual([
      'orders',
      'returns',
      'raw-visits',
      'returned-orders.shop',
      'returned-orders.note',
      'returned-orders.predictions',
      'returned-orders.rejected',
      'returned-orders.models',
      'returned-orders.schemas',
      'orders.schemas',
      'returns.schemas',
      'raw-visits.schemas',
    ])
  })

  test('the lateness of the scored stream lengthens retention; long windows lengthen that of the log', () => {
    const fields = { orderId: text(), buyerId: text(), at: timestamp() }
    const late = stream('orders', { id: 'orderId', key: 'buyerId', time: 'at', fields, lateness: '3d' })
    const by = entity('buyer', [late.fields.buyerId])
    const plan = compiled({ scores: late, features: { count: count(late, { by, over: '100d', lag: '10d' }) } })
    expect(plan.stages[0]!.entity.retentionMs).toBe(113 * dayMs)
    expect(plan.topics.map(({ role, retentionMs }) => [role, retentionMs && retentionMs / dayMs])).toEqual([
      ['raw', 113],
      ['raw', 113],
      ['predictions', 113],
      ['rejected', 113],
      ['models', null],
      ['schemas', null],
      ['raw schemas', null],
      ['raw schemas', null],
    ])
  })
})

describe('raw topics', () => {
  const rawOf = (options: { namespace?: string; rawNamespace?: string }) =>
    compile(definePipeline(sound), options)
      .topics.filter(({ role }) => role.startsWith('raw'))
      .map(({ topic }) => topic)

  test('have the namespace of the pipeline, another one, or none', () => {
    const plain = ['orders', 'returns', 'orders.schemas', 'returns.schemas']
    expect(rawOf({})).toEqual(plain)
    expect(rawOf({ namespace: 'green', rawNamespace: '' })).toEqual(plain)
    expect(rawOf({ namespace: 'green', rawNamespace: 'blue' })).toEqual(plain.map((topic) => `blue.${topic}`))
    expect(rawOf({ namespace: 'green' })).toEqual(plain.map((topic) => `green.${topic}`))
  })

  test('share their topic of schemas with a pipeline of their name', () => {
    const { topics, schemas } = compiled({ name: 'orders' })
    expect(schemas.raw.map(({ topic }) => topic)).toEqual(['orders.schemas', 'returns.schemas'])
    expect(topics.filter(({ topic }) => topic === 'orders.schemas').map(({ role }) => role)).toEqual(['schemas'])
  })

  test('that two namespaces give the name of another topic are refused', () => {
    const from = stream('outcomes', {
      id: 'id',
      key: 'buyer',
      time: 'at',
      topic: 'green.returned-orders.models',
      fields: { id: text(), buyer: text(), at: timestamp() },
    })
    const both = () =>
      compile(definePipeline({ ...sound, label: { ...sound.label, from } }), { namespace: 'green', rawNamespace: '' })
    expect(both).toThrow(/give two topics of the pipeline one name, green\.returned-orders\.models/)
  })
})
