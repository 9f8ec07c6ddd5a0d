import { describe, expect, test } from 'vitest'
import {
  count,
  derive,
  entity,
  max,
  mean,
  min,
  number,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { durations, identifiers, loose, mistakes, withFeature } from './mistakes.ts'
import { buyer, orders, returns, shop } from './shop-definition.ts'

describe('entities', () => {
  const by = (made: unknown) => withFeature(count(orders, { by: made as never, over: '1d' }))

  test('a name that is no identifier', () => {
    expect(by(entity('the-buyer', [orders.fields.buyerId]))).toEqual([
      `entities.the-buyer: expected ${identifiers}, received the-buyer`,
    ])
    expect(by(loose.entity(undefined, [orders.fields.buyerId]))).toEqual([
      `entities.undefined: expected ${identifiers}, received nothing`,
    ])
  })

  test.each(['predictions', 'rejected', 'models', 'schemas'])('the name %s, which is that of a topic', (name) => {
    expect(by(entity(name, [orders.fields.buyerId]))).toEqual([
      `entities.${name}: expected another name, since returned-orders.${name} is a topic of its own, received ${name}`,
    ])
  })

  test('two entities of one name', () => {
    expect(by(entity('buyer', [orders.fields.buyerId]))).toEqual([
      'entities.buyer: expected one value of this name, used everywhere, received two different values',
    ])
  })

  test('no key in the scored stream', () => {
    expect(withFeature(count(returns, { by: entity('refunded', [returns.fields.buyerId]), over: '1d' }))).toEqual([
      'entities.refunded: expected a key field of the scored stream orders, received returns',
    ])
  })

  test('two keys of one stream', () => {
    expect(by(entity('pair', [orders.fields.buyerId, orders.fields.shopId]))).toEqual([
      'entities.pair: expected one key field a stream, received two of orders',
    ])
  })

  test.each([
    ['amount', orders.fields.amount],
    ['note', orders.fields.note],
  ])('the key %s, which is no text or may be missing', (name, field) => {
    expect(by(loose.entity('odd', [field]))).toEqual([
      `entities.odd: expected text fields that are never missing, received orders.${name}`,
    ])
  })

  test('keys that are none', () => {
    expect(by(loose.entity('odd', [undefined, orders.fields.buyerId, 'shopId']))).toEqual([
      'entities.odd.keys[0]: expected a text field of a stream, received nothing',
      'entities.odd.keys[2]: expected a text field of a stream, received shopId',
    ])
    const noKey = [
      'entities.odd: expected a key field of the scored stream orders, received no key',
      'features.buyerMean7d.by: expected an entity with a key field of orders, received odd',
    ]
    expect(by(loose.entity('odd', orders.fields.buyerId))).toEqual(noKey)
    expect(by(loose.entity('odd'))).toEqual(noKey)
  })

  test('a key made by hand', () => {
    const made = { kind: 'field', stream: orders, name: 'cardId', spec: text() } as const
    expect(by(entity('card', [made]))).toEqual([
      'entities.card.keys[0]: expected a field of orders, received the field orders.cardId',
    ])
  })
})

describe('aggregates', () => {
  const over = '1d'
  const path = 'features.buyerMean7d'

  test.each(['0s', '-1d', '1w', '36526d', 7, undefined, null])('over %j', (wrong) => {
    const received = wrong === undefined ? 'nothing' : String(wrong)
    expect(withFeature(count(orders, { by: buyer, over: wrong as never }))).toEqual([
      `${path}.over: expected ${durations}, more than 0, received ${received}`,
    ])
  })

  test.each(['-7d', 'a week', 7, null])('lag %j', (wrong) => {
    expect(withFeature(count(orders, { by: buyer, over, lag: wrong as never }))).toEqual([
      `${path}.lag: expected ${durations}, received ${wrong}`,
    ])
  })

  test.each([
    ['sum', sum],
    ['mean', mean],
    ['min', min],
    ['max', max],
  ])('%s of what is no number', (_, aggregate) => {
    const window = { by: buyer, over } as const
    const expected = 'expected a number, integer or timestamp field'
    expect(withFeature(aggregate(orders.fields.buyerId as never, window))).toEqual([
      `${path}: ${expected}, received buyerId, which is text`,
    ])
    expect(withFeature(aggregate(orders.fields.gift as never, window))).toEqual([
      `${path}: ${expected}, received gift, which is flag`,
    ])
    expect(withFeature(aggregate(orders.fields.sentAt, window))).toEqual([])
    expect(withFeature(aggregate(undefined as never, window))).toEqual([
      `${path}.field: expected a number, integer or timestamp field of a stream, received nothing`,
    ])
    expect(withFeature(aggregate('amount' as never, window))).toEqual([
      `${path}.field: expected a number, integer or timestamp field of a stream, received amount`,
    ])
  })

  test('a field made by hand', () => {
    const made = { kind: 'field', stream: orders, name: 'amuont', spec: number() } as const
    expect(withFeature(mean(made, { by: buyer, over }))).toEqual([
      `${path}.field: expected a field of orders, received the field orders.amuont`,
    ])
  })

  test('no stream, no entity, no window', () => {
    expect(withFeature(loose.count(undefined, { by: buyer, over }))).toEqual([
      `${path}.stream: expected a stream, received nothing`,
    ])
    expect(withFeature(loose.count(orders.fields.amount, { by: buyer, over }))).toEqual([
      `${path}.stream: expected a stream, received the field orders.amount`,
    ])
    expect(withFeature(loose.count(orders, { by: 'buyer', over }))).toEqual([
      `${path}.by: expected an entity, received buyer`,
    ])
    expect(withFeature(loose.count(orders))).toEqual([
      `${path}.over: expected ${durations}, more than 0, received nothing`,
      `${path}.by: expected an entity, received nothing`,
    ])
  })

  test('by an entity without a key of the stream', () => {
    const alone = entity('alone', [orders.fields.buyerId])
    expect(withFeature(count(returns, { by: alone, over }))).toEqual([
      `${path}.by: expected an entity with a key field of returns, received alone`,
    ])
  })

  test.each([
    ['of another stream', orders.fields.at, 'orders.at'],
    ['that is no timestamp', returns.fields.refund, 'returns.refund'],
    ['made by hand', { ...returns.fields.returnedAt, name: 'eventually' }, 'returns.eventually'],
    ['misspelt', undefined, 'nothing'],
    ['by name', 'orderedAt', 'orderedAt'],
  ])('at a field %s', (_, at, received) => {
    const single = {
      count: count(orders, { by: buyer, over }),
      odd: count(returns, { by: buyer, over, at: at as never }),
    }
    expect(mistakes({ features: single })).toEqual([
      `features.odd.at: expected a timestamp field of returns that is never missing, received ${received}`,
    ])
  })

  test('a misspelt timestamp field is one mistake, not two', () => {
    const at = undefined as never
    const odd = count(returns, { by: shop, over: '7d', at })
    const dated = count(returns, { by: shop, over, at: returns.fields.orderedAt })
    expect(mistakes({ features: { count: count(orders, { by: buyer, over }), dated, odd } })).toEqual([
      'features.odd.at: expected a timestamp field of returns that is never missing, received nothing',
    ])
  })

  test('at a field that may be missing', () => {
    expect(
      mistakes({ features: { count: count(orders, { by: buyer, over, at: orders.fields.sentAt as never }) } }),
    ).toEqual(['features.count.at: expected a timestamp field of orders that is never missing, received orders.sentAt'])
  })

  test('two timestamp fields for the facts of one stream in one log', () => {
    expect(withFeature(count(returns, { by: shop, over, at: returns.fields.orderedAt }))).toEqual([
      'features.shopReturns30d.at: expected orderedAt, as in the other aggregates of returns by shop, received returnedAt',
    ])
    expect(withFeature(count(returns, { by: buyer, over, at: returns.fields.orderedAt }))).toEqual([])
  })

  test('within a derived value', () => {
    const inner = derive([count(orders, { by: buyer, over: '0s' })], (n) => n)
    expect(withFeature(derive([orders.fields.amount, inner], (a, b) => a + b))).toEqual([
      `${path}.inputs[1].inputs[0].over: expected ${durations}, more than 0, received 0s`,
    ])
  })

  test('two aggregates whose names come out alike', () => {
    const fields = { orderId: text(), buyerId: text(), at: timestamp(), weight: number(), net_weight: number() }
    const roles = { id: 'orderId', key: 'buyerId', time: 'at' } as const
    const [parcels, parcelsNet] = [stream('parcels', { ...roles, fields }), stream('parcels_net', { ...roles, fields })]
    const by = entity('buyer', [orders.fields.buyerId, parcels.fields.buyerId, parcelsNet.fields.buyerId])
    const features = {
      count: count(orders, { by, over }),
      net: sum(parcels.fields.net_weight, { by, over }),
      weight: sum(parcelsNet.fields.weight, { by, over }),
    }
    expect(mistakes({ features })).toEqual([
      'features.weight: expected a name that no other aggregate comes to (rename an entity, stream or field), ' +
        'received buyer_sum_parcels_net_weight_1d, as buyer/sum/parcels/net_weight/1d',
    ])
  })
})

describe('the way of events', () => {
  test('no entity of the scored stream’s key', () => {
    expect(mistakes({ features: { count: count(orders, { by: shop, over: '1d' }) } })).toEqual([
      'features: expected an aggregate by an entity keyed in orders by buyerId, the Kafka key of its topic, ' +
        'received shop with shopId',
    ])
    expect(mistakes({ features: { amount: orders.fields.amount } })).toEqual([
      'features: expected an aggregate by an entity keyed in orders by buyerId, the Kafka key of its topic, received none',
    ])
  })

  test('a stream keyed by no entity, or by one that comes too late', () => {
    const roles = { id: 'visitId', key: 'shopId', time: 'at' } as const
    const fields = { visitId: text(), shopId: text(), buyerId: text(), at: timestamp() }
    const visits = stream('visits', { ...roles, fields })
    const buyers = entity('buyer', [orders.fields.buyerId, visits.fields.buyerId])
    const shops = entity('shop', [orders.fields.shopId, visits.fields.shopId])
    const first = count(orders, { by: buyers, over: '1d' })
    const late = {
      first,
      visits: count(visits, { by: buyers, over: '1d' }),
      shops: count(orders, { by: shops, over: '1d' }),
    }
    expect(mistakes({ features: late })).toEqual([
      'streams.visits.key: expected the key field of buyer, received shopId',
    ])
    const inTime = { first, visits: count(visits, { by: shops, over: '1d' }) }
    expect(mistakes({ features: inTime })).toEqual([])
    const unkeyed = stream('visits', { ...roles, key: 'visitId', fields })
    const shopsToo = entity('shop', [orders.fields.shopId, unkeyed.fields.shopId])
    expect(mistakes({ features: { first, visits: count(unkeyed, { by: shopsToo, over: '1d' }) } })).toEqual([
      'streams.visits.key: expected the key field of buyer or shop, received visitId',
    ])
  })

  test('more streams than canonical order has room for', () => {
    const streams = Array.from({ length: 8 }, (_, i) =>
      stream(`s${i}`, {
        id: 'id',
        key: 'buyerId',
        time: 'at',
        fields: { id: text(), buyerId: text(), at: timestamp() },
      }),
    )
    const by = entity('buyer', [orders.fields.buyerId, ...streams.map((made) => made.fields.buyerId)])
    const featuresOf = (made: typeof streams) => ({
      count: count(orders, { by, over: '1d' }),
      ...Object.fromEntries(made.map((one) => [one.name, count(one, { by, over: '1d' })])),
    })
    expect(mistakes({ features: featuresOf(streams.slice(0, 6)) })).toEqual([])
    expect(mistakes({ features: featuresOf(streams) })).toEqual([
      'features: expected at most 8 streams, received 10 streams',
    ])
  })
})
