import { describe, expect, test } from 'vitest'
import { count, entity, stream, text, timestamp } from '../../schemas/definition/definition.ts'
import { mistakes } from './mistakes.ts'
import { buyer, orders, sound } from './shop-definition.ts'

describe('names that meet', () => {
  const fields = { orderId: text(), buyerId: text(), at: timestamp() }
  const roles = { id: 'orderId', key: 'buyerId', time: 'at', fields } as const
  const labelled = (from: unknown) => mistakes({ label: { ...sound.label, from } })

  test('two streams of one name', () => {
    expect(labelled(stream('returns', roles))).toEqual([
      'streams.returns: expected one value of this name, used everywhere, received two different values',
    ])
  })

  test('two streams of one topic, also where Kafka only takes them for one', () => {
    expect(labelled(stream('outcomes', { ...roles, topic: 'orders' }))).toEqual([
      'streams.outcomes.topic: expected a topic of its own, not orders of the stream orders, received orders',
    ])
    const dotted = stream('outcomes', { ...roles, topic: 'returned-orders_shop' })
    expect(labelled(dotted)).toEqual([
      'streams.outcomes.topic: expected a topic of its own, not returned-orders.shop of the pipeline, ' +
        'received returned-orders_shop',
    ])
  })

  test('a stream on the topic of the schemas of another, or whose own is taken', () => {
    expect(labelled(stream('outcomes', { ...roles, topic: 'orders.schemas' }))).toEqual([
      'streams.outcomes.topic: expected a topic of its own, not orders.schemas, the topic of schemas of the stream orders, ' +
        'received orders.schemas',
    ])
    const beside = stream('extra', { ...roles, topic: 'returns_schemas' })
    const features = { ...sound.features, extra: count(beside, { by: buyer, over: '1d' }) }
    expect(mistakes({ features, label: { ...sound.label, from: stream('returns', roles) } })).toContain(
      'streams.extra.topic: expected a topic of its own, not returns.schemas, the topic of schemas of the stream returns, ' +
        'received returns_schemas',
    )
  })

  test.each(['predictions', 'rejected', 'models', 'shop'])('a stream on the topic of the %s', (own) => {
    const topic = `returned-orders.${own}`
    expect(labelled(stream('outcomes', { ...roles, topic }))).toEqual([
      `streams.outcomes.topic: expected a topic of its own, not ${topic} of the pipeline, received ${topic}`,
    ])
  })

  test.each([
    ['origin', 'a record of an internal topic'],
    ['stage_position', 'a record of an internal topic'],
    ['slots', 'a record of an internal topic'],
    ['shop_orders', 'a record of an internal topic'],
  ])('a stream whose Avro record is taken: %s', (name, other) => {
    expect(labelled(stream(name, roles))).toEqual([
      `streams.${name}: expected a name whose Avro record is not ${other}, received ${name}`,
    ])
  })

  test('streams whose names are one in Avro', () => {
    const features = { ...sound.features, other: count(stream('re.turns', roles), { by: buyer, over: '1d' }) }
    expect(mistakes({ features, label: { ...sound.label, from: stream('re-turns', roles) } })).toEqual([
      'streams.re-turns: expected a name whose Avro record is not that of the stream re.turns, received re_turns',
      'features.other.by: expected an entity with a key field of re.turns, received buyer',
    ])
  })

  test('an entity named as the stage of rekeyed streams', () => {
    const rekey = entity('rekey', [orders.fields.buyerId])
    expect(mistakes({ features: { count: count(orders, { by: rekey, over: '1d' }) } })).toEqual([
      'entities.rekey: expected another name, since the stage of rekeyed streams has this one, received rekey',
    ])
  })

  test('a stream named as the watermark records of a repartition topic', () => {
    expect(labelled(stream('mark', roles))).toEqual([
      'streams.mark: expected another name, since repartition topics carry watermark records named mark, received mark',
    ])
  })
})
