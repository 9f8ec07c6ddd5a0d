import { describe, expect, test } from 'vitest'
import { stateDifference } from '../../feature-store/state-difference.ts'
import {
  count,
  entity,
  type Feature,
  mean,
  number,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { fingerprintOf } from '../../schemas/plan/fingerprint.ts'
import type { StateShape } from '../../schemas/plan/plan.ts'
import { stateChange } from '../../schemas/plan/state-change.ts'
import { shapeText, storedShape } from '../../schemas/plan/state-shape.ts'
import { clicksPipeline } from '../support/clicks.ts'

interface Choices {
  readonly key?: 'userId' | 'shopId'
  readonly decimals?: number
  readonly over?: '7d' | '30d'
  readonly more?: 'weight' | 'returns'
}

/** The shape of state of a small definition, with some choices made otherwise. */
function shapeOf({ key = 'userId', decimals = 2, over = '7d', more }: Choices): StateShape {
  const common = { orderId: text(), userId: text(), shopId: text(), at: timestamp() }
  const roles = { id: 'orderId', key, time: 'at' } as const
  const orders = stream('orders', { ...roles, fields: { ...common, total: number({ decimals }), weight: number() } })
  const returns = stream('returns', { ...roles, fields: common })
  const user = entity('user', [orders.fields[key], returns.fields[key]])
  const features: Record<string, Feature> = { spent: mean(orders.fields.total, { by: user, over }) }
  if (more === 'weight') features.weight = mean(orders.fields.weight, { by: user, over })
  if (more === 'returns') features.returns = count(returns, { by: user, over })
  const label = { from: returns, value: 1, otherwise: { value: 0, after: '1d' } } as const
  const { model } = clicksPipeline()
  return compile({ ...clicksPipeline(), name: 'shop', scores: orders, features, label, model }).stateShape
}

describe('what differs is said in words', () => {
  test.each<[Choices, string]>([
    [{}, ''],
    [{ over: '30d' }, 'entity user: retention was 8d, is 31d'],
    [{ decimals: 3 }, 'entity user: number of decimals of column total of orders was 2, is 3'],
    [{ more: 'weight' }, 'entity user: column weight of orders is new'],
    [{ more: 'returns' }, 'entity user: input returns is new'],
    [
      { key: 'shopId' },
      'stream orders: key was userId, is shopId; stream returns: key was userId, is shopId; ' +
        'entity user: key was userId of orders, userId of returns, is shopId of orders, shopId of returns',
    ],
  ])('%j', (choices, words) => {
    expect(stateChange(shapeOf({}), shapeOf(choices))).toBe(words)
  })

  test('what is gone, and another order', () => {
    const shape = shapeOf({ more: 'returns' })
    expect(stateChange(shape, shapeOf({}))).toBe('entity user: input returns is gone')
    const turned = { ...shape, streams: [...shape.streams].reverse(), stages: [] }
    expect(stateChange({ ...shape, stages: [] }, turned)).toBe(
      'order of stream was orders, returns, is returns, orders',
    )
  })

  test('the layout of rows of an earlier version, without the columns that it moves', () => {
    const shape = shapeOf({})
    const { rows: _, ...older } = {
      ...shape,
      stages: shape.stages.map(({ layout, ...stage }) => {
        const sources = layout.sources.map(({ values, ...source }) => {
          return { ...source, values: values.map(({ column, ...value }) => ({ ...value, column: column - 1 })) }
        })
        return { ...stage, layout: { ...layout, width: layout.width - 1, sources } }
      }),
    }
    expect(stateChange(older, shape)).toBe(
      'layout of the rows of facts was 1 (an id of 53 bits), is 2 (an id of 64 bits by a keyed hash, and a hash of the content)',
    )
  })

  test('at bounded length, however much it is', () => {
    const shape = shapeOf({})
    const stage = shape.stages[0]!
    const many = (letter: string) => Array.from({ length: 40 }, (_, i) => ({ ...stage, name: letter.repeat(200) + i }))
    const words = stateChange({ ...shape, stages: many('a') }, { ...shape, stages: many('b') })
    expect(words).toMatch(/^entity a{200}0 is gone; .*…; and 74 more$/)
    expect(words.length).toBeLessThan(650)
  })
})

describe('a stored shape', () => {
  const shape = shapeOf({})
  const stored = shapeText(shape)!
  const fingerprint = fingerprintOf(shape)

  test('is read where it is that of the fingerprint', () => {
    expect(storedShape(stored, fingerprint)).toEqual(JSON.parse(JSON.stringify(shape)))
    expect(fingerprint).toBe(fingerprintOf(storedShape(stored, fingerprint)))
  })

  test.each([
    ['of none', null],
    ['of another definition', shapeText(shapeOf({ over: '30d' }))],
    ['of another form', stored.replace('1 ', '2 ')],
    ['that is cut', stored.slice(0, -1)],
    ['that is text', '1 "x"'],
  ])('%s is none', (_, text) => {
    expect(storedShape(text, fingerprint)).toBeNull()
  })

  test('too large to keep is not stored', () => {
    const streams = Array.from({ length: 1_000 }, () => shape.streams[0]!)
    expect(shapeText({ ...shape, streams })).toBeNull()
  })
})

test('a difference of state is that of cluster, of partitions, then of the definition', () => {
  const [shape, wider] = [shapeOf({}), shapeOf({ over: '30d' })]
  const found = { clusterId: 'c', stateFingerprint: 'a', partitions: 2, shape }
  const { shape: _, ...before } = found
  const words = [
    stateDifference(found, { ...found }),
    stateDifference(found, { ...found, clusterId: 'd', partitions: 4 }),
    stateDifference(found, { ...found, stateFingerprint: 'b', partitions: 4 }),
    stateDifference(found, { ...found, stateFingerprint: 'b', shape: wider }),
    stateDifference(before, { ...found, stateFingerprint: 'b', shape: wider }),
    stateDifference({ ...found, hashKey: '1' }, { ...found, hashKey: '1' }),
    stateDifference({ ...found, hashKey: '1' }, { ...found, hashKey: '2' }),
  ]
  expect(words).toEqual([
    null,
    'it belongs to Kafka cluster c, and this one is d',
    'it was made with 2 partitions, and the topics have 4',
    'entity user: retention was 8d, is 31d',
    'its streams, keys, the columns or the layout of its facts, or their retention are others',
    null,
    'the ids of its facts are hashed with the key 1, and the topic of schemas has the key 2',
  ])
})
