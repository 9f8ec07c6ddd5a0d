import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import {
  count,
  type Definition,
  definePipeline,
  derive,
  entity,
  type Features,
  type FieldRef,
  logisticRegression,
  mean,
  number,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { fingerprintOf, probe } from '../../schemas/plan/fingerprint.ts'
import { clicksPipeline } from '../support/clicks.ts'
import { buyer, orders, returns, shop, sound } from './shop-definition.ts'

function prints(change: Partial<Definition<Features>> = {}): { whole: string; state: string } {
  const plan = compile(definePipeline({ ...sound, ...change }))
  return { whole: plan.fingerprint, state: plan.stateFingerprint }
}

/** Prints of the sound definition with its feature `perPiece` in other words. */
const withFeature = (perPiece: Features[string]) => prints({ features: { ...sound.features, perPiece } })
const { amount, pieces, gift, at, note } = orders.fields
const base = prints()

describe('a fingerprint', () => {
  test('is 16 hexadecimal digits, the same every time', () => {
    expect(base.whole).toMatch(/^[0-9a-f]{16}$/)
    expect(base.state).toMatch(/^[0-9a-f]{16}$/)
    expect(prints()).toEqual(base)
  })

  test('is that of SHA-256 over JSON with sorted keys, in every process', () => {
    // printf '{"a":[1,{"x":null,"y":2}],"b":"é"}' | sha256sum
    expect(fingerprintOf({ b: 'é', a: [1, { y: 2, x: null }] })).toBe('2871ecad22ba6f45')
    expect(fingerprintOf({ a: [1, { x: null, y: 2 }], b: 'é' })).toBe('2871ecad22ba6f45')
  })
})

describe('of a whole definition', () => {
  test('stays where a function is only written in other words', () => {
    const renamed = derive([amount, pieces], (price, n) => price / n)
    const longer = derive([amount, pieces], function perPiece(price, n) {
      // A comment, and a result with a name.
      const each = price / n
      return each
    })
    expect(withFeature(renamed)).toEqual(base)
    expect(withFeature(longer)).toEqual(base)
  })

  test.each([
    ['another answer', derive([amount, pieces], (price, n) => price / (n + 1))],
    ['other inputs', derive([pieces, amount], (price, n) => price / n)],
    ['missing instead of a number', derive([amount, pieces], (price, n) => (n > 30 ? null : price / n))],
    ['a throw', derive([amount, pieces], (price, n) => (n === 0 ? fail() : price / n))],
    ['a constant', derive([amount], () => 1)],
  ])('changes with a function’s meaning: %s', (_, feature) => {
    const { whole, state } = withFeature(feature)
    expect(whole).not.toBe(base.whole)
    expect(state).toBe(base.state)
  })

  test.each([
    ['hour', (ms: number, n: number) => Number(new Date(ms).getUTCHours() <= n), 24],
    ['weekday', (ms: number, n: number) => Number(new Date(ms).getUTCDay() === n), 7],
    ['month', (ms: number, n: number) => Number(new Date(ms).getUTCMonth() === n), 12],
    ['day of the month', (ms: number, n: number) => Number(new Date(ms).getUTCDate() - 1 === n), 31],
    ['minute', (ms: number, n: number) => Number(new Date(ms).getUTCMinutes() <= n), 60],
  ])('tells every %s of an instant apart', (_, compute, values) => {
    const found = Array.from({ length: values }, (_, n) => fingerprintOf(probe(derive([at], (ms) => compute(ms, n)))))
    expect(new Set(found).size).toBe(values)
  })

  test('distinguishes limits of a count, and every combination of flags', () => {
    const limits = Array.from({ length: 40 }, (_, n) =>
      probe(derive([count(orders, { by: buyer, over: '1d' })], (c) => Number(c > n))),
    )
    expect(new Set(limits.map(fingerprintOf)).size).toBe(40)
    const combinations = Array.from({ length: 8 }, (_, n) =>
      probe(derive([gift, gift, gift], (a, b, c) => Number(Number(a) + 2 * Number(b) + 4 * Number(c) === n))),
    )
    expect(new Set(combinations.map(fingerprintOf)).size).toBe(8)
  })

  test('hands a function values of its inputs’ types', () => {
    const typed = derive([note, gift, at, amount], (...values) => {
      expect(values.map((value) => typeof value)).toEqual(['string', 'boolean', 'number', 'number'])
      expect(values[2] > 1e12 && values[2] < 1.7e12 && Number.isInteger(values[2])).toBe(true)
      return 1
    })
    expect(new Set(probe(typed))).toEqual(new Set(['1.00000000000']))
  })

  test.each<[string, Partial<Definition<Features>>]>([
    ['version', { version: 2 }],
    ['a feature more', { features: { ...sound.features, pieces } }],
    ['a feature’s name', { features: { price: amount, ...without('amount') } }],
    ['the order of the vector', { features: { ...without('amount'), amount } }],
    ['a window', { features: { ...sound.features, buyerCount1d: count(orders, { by: buyer, over: '2d' }) } }],
    ['a lag', { features: { ...sound.features, buyerCount1d: count(orders, { by: buyer, over: '1d', lag: '1h' }) } }],
    ['an aggregate', { features: { ...sound.features, buyerMean7d: sum(amount, { by: buyer, over: '7d' }) } }],
  ])('changes with %s, without a change of state', (_, change) => {
    const { whole, state } = prints(change)
    expect(whole).not.toBe(base.whole)
    expect(state).toBe(base.state)
  })

  test('stays with what no value of the vector depends on', () => {
    expect(prints({ model: logisticRegression({ l2: 7 }) })).toEqual(base)
    expect(prints({ label: { ...sound.label, otherwise: { value: 0, after: '1d' } } })).toEqual(base)
    const spelt = { ...sound.features, buyerCount1d: count(orders, { by: buyer, over: '24h', lag: '0h' }) }
    expect(prints({ features: spelt })).toEqual(base)
  })
})

describe('of state', () => {
  test.each<[string, Features]>([
    ['retention', { ...sound.features, buyerCount1d: count(orders, { by: buyer, over: '8d' }) }],
    [
      'a lag beyond retention',
      { ...sound.features, buyerCount1d: count(orders, { by: buyer, over: '1d', lag: '7d' }) },
    ],
    ['a value more', { ...sound.features, pieces: mean(pieces, { by: buyer, over: '1d' }) }],
    ['an entity less', without('shopReturns30d')],
    ['a stream that leaves facts', { ...sound.features, returned: count(returns, { by: buyer, over: '1d' }) }],
    [
      'the place of facts in time',
      { ...sound.features, shopReturns30d: count(returns, { by: shop, over: '30d', at: returns.fields.orderedAt }) },
    ],
  ])('changes with %s', (_, features) => {
    const { whole, state } = prints({ features })
    expect(state).not.toBe(base.state)
    expect(whole).not.toBe(base.whole)
  })

  test('changes with the pipeline’s name, which its keys begin with', () => {
    expect(prints({ name: 'other-orders' }).state).not.toBe(base.state)
  })

  test.each<[string, { key?: 'a' | 'b'; decimals?: number; lateness?: '1d' | '2d' }]>([
    ['key', { key: 'b' }],
    ['decimals', { decimals: 2 }],
    ['lateness', { lateness: '2d' }],
  ])('changes with the %s of the scored stream', (_, { key = 'a', decimals, lateness = '1d' }) => {
    expect(ofStream(key, decimals, lateness).state).not.toBe(ofStream('a', undefined, '1d').state)
  })
})

describe('of a definition that rekeys', () => {
  const clicks = (rekey: ReadonlyArray<'clicks' | 'refunds'>) => compile(clicksPipeline({ rekey }))

  test('differs for every choice of streams; without any it is what it was before there was such a choice', () => {
    const states = [clicks([]), clicks(['clicks']), clicks(['refunds']), clicks(['clicks', 'refunds'])]
    expect(new Set(states.map(({ stateFingerprint }) => stateFingerprint)).size).toBe(4)
    expect([states[0]!.fingerprint, states[0]!.stateFingerprint]).toEqual(['9603570530434765', '87e3fc9ec533d5b1'])
    const { fingerprint, stateFingerprint } = compile(cardFraud)
    expect([fingerprint, stateFingerprint]).toEqual(['8f280308452f440d', '54c84ef298c74ece'])
  })
})

function ofStream(key: 'a' | 'b', decimals: number | undefined, lateness: '1d' | '2d') {
  const value = number(decimals === undefined ? {} : { decimals })
  const fields = { id: text(), a: text(), b: text(), value, at: timestamp() }
  const scores = stream('things', { id: 'id', key, time: 'at', fields, lateness })
  const keyField: FieldRef<string, 'text'> = scores.fields[key]
  return prints({
    scores,
    features: { sum: sum(scores.fields.value, { by: entity('thing', [keyField]), over: '1d' }) },
  })
}

function without(name: keyof typeof sound.features): Features {
  return Object.fromEntries(Object.entries(sound.features).filter(([feature]) => feature !== name))
}

function fail(): never {
  throw new RangeError('no')
}
