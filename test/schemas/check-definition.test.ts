import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import { checkDefinition, checkNamespace, checkPartitions } from '../../schemas/definition/check-definition.ts'
import {
  count,
  definePipeline,
  derive,
  flag,
  integer,
  logisticRegression,
  mean,
  number,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { durations, identifiers, type Loose, loose, mistakes, withFeature, withField, withStream } from './mistakes.ts'
import { buyer, orders, returns, sound, soundPipeline } from './shop-definition.ts'

describe('a sound definition', () => {
  test('has no mistakes', () => {
    expect(checkDefinition(soundPipeline)).toEqual([])
    expect(checkDefinition(cardFraud)).toEqual([])
    expect(withStream({})).toEqual([])
    expect(withField(number({ min: -1, max: -1, decimals: 9 }))).toEqual([])
    expect(withField(text({ lengthMax: 65_536 }))).toEqual([])
  })
})

describe('all mistakes at once', () => {
  test('in the words of one error', () => {
    const bent = {
      ...sound,
      name: 'Returned Orders',
      version: 0,
      features: {
        note: orders.fields.note,
        'per-piece': derive([], () => 1),
        count: count(orders, { by: buyer, over: '0s' }),
        mean: mean(orders.fields.amount, { by: buyer, over: '7 days' as never, lag: '-1d' }),
      },
      label: { from: orders, value: 2, otherwise: { value: 2, after: 'later' } },
      model: logisticRegression({ l2: -1 }),
    }
    const attempt = () => compile(definePipeline(bent as never))
    const mistakes = [
      'name: expected lower-case letters, digits and dashes that begin with a letter, at most 64, received Returned Orders',
      'version: expected a whole number from 1, received 0',
      `features.count.over: expected ${durations}, more than 0, received 0s`,
      `features.mean.over: expected ${durations}, more than 0, received 7 days`,
      `features.mean.lag: expected ${durations}, received -1d`,
      'features.note: expected a number, an aggregate or a derived value, received the text field note',
      `features.per-piece: expected ${identifiers}, received per-piece`,
      'features.per-piece: expected at least one input, received none',
      'label.from: expected another stream than the scored one, received orders',
      'label.value: expected 0, 1 or a field of the stream, received 2',
      "label.otherwise.value: expected 0, 1 or 'unknown', received 2",
      `label.otherwise.after: expected ${durations}, received later`,
      'model.l2: expected a number >= 0, received -1',
    ]
    expect(attempt).toThrow(PipelineError)
    expect(attempt).toThrow(
      expect.objectContaining({
        code: 'definition_invalid',
        message: `Pipeline Returned Orders has 13 mistakes:\n  ${mistakes.join('\n  ')}`,
      }),
    )
  })

  test('a single one is counted as one, and is in the details', () => {
    const attempt = () => compile(definePipeline({ ...sound, version: 1.5 }))
    expect(attempt).toThrow(
      expect.objectContaining({
        message: 'Pipeline returned-orders has 1 mistake:\n  version: expected a whole number from 1, received 1.5',
        details: { problems: [{ path: 'version', expected: 'a whole number from 1', received: '1.5' }] },
      }),
    )
  })
})

describe('name and version', () => {
  const expected = 'lower-case letters, digits and dashes that begin with a letter, at most 64'
  test.each([
    ['Orders', 'Orders'],
    ['orders.x', 'orders.x'],
    ['1orders', '1orders'],
    ['', 'an empty text'],
    ['o'.repeat(65), 'o'.repeat(65)],
    [undefined, 'nothing'],
    [null, 'null'],
    [7, '7'],
  ])('name %j', (name, received) => {
    expect(mistakes({ name })).toEqual([`name: expected ${expected}, received ${received}`])
  })

  test.each([
    [0, '0'],
    [-1, '-1'],
    [1.5, '1.5'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [2 ** 53, '9007199254740992'],
    ['1', '1'],
    [undefined, 'nothing'],
  ])('version %j', (version, received) => {
    expect(mistakes({ version })).toEqual([`version: expected a whole number from 1, received ${received}`])
  })
})

describe('features', () => {
  test('none', () => {
    expect(mistakes({ features: {} })).toEqual(['features: expected at least one feature, received none'])
  })

  test.each([
    [undefined, 'nothing'],
    [null, 'null'],
    [[orders.fields.amount], '['],
    ['amount', 'amount'],
  ])('features that are no record of features: %s', (features, received) => {
    const [first, ...others] = mistakes({ features })
    expect(first).toContain(`features: expected the features of the vector by name, received ${received}`)
    expect(others).toEqual([])
  })

  test('more than a thousand', () => {
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`f${i}`, orders.fields.amount]))
    const counted = { count: sound.features.buyerCount1d }
    expect(mistakes({ features: { ...many, ...counted } })).toEqual([
      'features: expected at most 1000 features, received 1001',
    ])
  })

  test.each(['per-piece', '1st', '1', 'a b', 'größe', '', 'constructor', 'a'.repeat(65)])('named %j', (name) => {
    expect(mistakes({ features: { ...sound.features, [name]: orders.fields.amount } })).toEqual([
      `features.${name}: expected ${identifiers}, received ${name === '' ? 'an empty text' : name}`,
    ])
  })

  test.each([
    [undefined, 'nothing'],
    [null, 'null'],
    [3, '3'],
    ['amount', 'amount'],
    [orders, 'the stream orders'],
    [buyer, 'the entity buyer'],
    [soundPipeline, 'a pipeline'],
    [() => 1, 'a function'],
    [[orders.fields.at], '[{"kind":"field"'],
  ])('that are none: %s', (feature, received) => {
    const [only, ...others] = withFeature(feature)
    expect(only).toContain(
      `features.buyerMean7d: expected a field, an aggregate or a derived value, received ${received}`,
    )
    expect(others).toEqual([])
  })

  test('a field of another stream, a text field, a field made by hand', () => {
    expect(withFeature(returns.fields.refund)).toEqual([
      'features.buyerMean7d: expected a field of the scored stream orders, received returns.refund',
    ])
    expect(withFeature(orders.fields.shopId)).toEqual([
      'features.buyerMean7d: expected a number, an aggregate or a derived value, received the text field shopId',
    ])
    expect(withFeature({ ...orders.fields.amount, name: 'amuont' })).toEqual([
      'features.buyerMean7d: expected a field of orders, received the field orders.amuont',
    ])
  })

  test('derived of nothing, of another stream, of a misspelt field, without a function', () => {
    const path = 'features.buyerMean7d'
    expect(withFeature(derive([], () => 1))).toEqual([`${path}: expected at least one input, received none`])
    expect(withFeature(loose.derive(undefined, () => 1))).toEqual([
      `${path}: expected at least one input, received none`,
    ])
    expect(withFeature(derive([returns.fields.refund], (refund) => refund))).toEqual([
      `${path}.inputs[0]: expected a field of the scored stream orders, received returns.refund`,
    ])
    expect(withFeature(loose.derive([orders.fields.amount, undefined], () => 1))).toEqual([
      `${path}.inputs[1]: expected a field, an aggregate or a derived value, received nothing`,
    ])
    expect(withFeature(loose.derive([orders.fields.amount]))).toEqual([
      `${path}.compute: expected a function of the inputs, received nothing`,
    ])
  })
})

describe('label, model and scored stream', () => {
  const label = (change: object) => mistakes({ label: { ...sound.label, ...change } })

  test('a label that is none', () => {
    expect(mistakes({ label: undefined })).toEqual(['label: expected from, value and otherwise, received nothing'])
    expect(label({ from: undefined })).toEqual(['label.from: expected a stream, received nothing'])
    expect(label({ from: 'returns' })).toEqual(['label.from: expected a stream, received returns'])
    expect(label({ from: orders })).toEqual([
      'label.from: expected another stream than the scored one, received orders',
    ])
    expect(label({ otherwise: null })).toEqual([
      "label.otherwise: expected { value, after } or 'unknown', received null",
    ])
    expect(label({ otherwise: { value: 0 } })).toEqual([
      `label.otherwise.after: expected ${durations}, received nothing`,
    ])
  })

  test.each([
    [0.5, '0.5'],
    ['1', '1'],
    [true, 'true'],
    [undefined, 'nothing'],
  ])('label value %j', (value, received) => {
    expect(label({ value })).toEqual([`label.value: expected 0, 1 or a field of the stream, received ${received}`])
    expect(label({ otherwise: { value, after: '1d' } })).toEqual([
      `label.otherwise.value: expected 0, 1 or 'unknown', received ${received}`,
    ])
  })

  test('label value from a field', () => {
    const withValue = {
      orderId: text(),
      at: timestamp(),
      right: flag({ optional: true }),
      note: text(),
      share: number(),
      stars: integer({ min: 1, max: 5 }),
      rate: number({ min: 0, max: 1 }),
      count: integer({ min: 0 }),
      whole: integer({ min: 0, max: 1, optional: true }),
      round: number({ min: 0, max: 1, decimals: 0 }),
    }
    const checks = stream('checks', { id: 'orderId', key: 'orderId', time: 'at', fields: withValue })
    const from = (value: unknown) => label({ from: checks, value })
    expect(from(checks.fields.right)).toEqual([])
    for (const name of ['whole', 'round'] as const) expect(from(checks.fields[name])).toEqual([])
    for (const [name, received] of [
      ['note', 'text'],
      ['at', 'timestamp'],
      ['share', 'number'],
      ['stars', 'integer with min 1, max 5'],
      ['rate', 'number with min 0, max 1'],
      ['count', 'integer with min 0'],
    ] as const) {
      expect(from(checks.fields[name])).toEqual([
        'label.value: expected a flag field, or integer({ min: 0, max: 1 }), so that a report of anything but 0 and 1 is ' +
          `rejected, received ${name}, which is ${received}`,
      ])
    }
    expect(from(orders.fields.gift)).toEqual([
      'label.value: expected a field of checks, received the field orders.gift',
    ])
    expect(from({ ...checks.fields.right, name: 'wrong' })).toEqual([
      'label.value: expected a field of checks, received the field checks.wrong',
    ])
  })

  test('no report that means unknown, and reports learnt from as they arrive', () => {
    const fields = { orderId: text(), at: timestamp(), right: flag({ optional: true }) }
    const checks = stream('checks', { id: 'orderId', key: 'orderId', time: 'at', fields })
    const sides = { from: checks, value: checks.fields.right }
    const planned = (label: object) => compile(definePipeline({ ...sound, label: { ...sound.label, ...label } })).label
    const [unknown, due] = [
      { value: null, afterMs: 0 },
      { value: null, afterMs: 86_400_000 },
    ]
    expect(planned({ ...sides, otherwise: 'unknown' })).toMatchObject({ otherwise: unknown, learn: 'on-arrival' })
    const waits = { ...sides, otherwise: { value: 'unknown', after: '1d' } }
    expect(planned(waits)).toEqual(expect.not.objectContaining({ learn: 'on-arrival' }))
    expect(planned({ ...waits, learn: 'on-arrival' })).toMatchObject({ otherwise: due, learn: 'on-arrival' })
    expect(planned({ ...sides, learn: 'on-arrival' })).toMatchObject({ otherwise: { value: 0 }, learn: 'on-arrival' })

    const both = 'a field that reports both outcomes, since nothing else could be 0, received 1'
    expect(label({ otherwise: 'unknown' })).toEqual([`label.value: expected ${both}`])
    expect(label({ otherwise: { value: 'unknown', after: '1d' } })).toEqual([`label.value: expected ${both}`])
    expect(label({ learn: 'on-arrival' })).toEqual([
      'label.learn: expected when-due, or a label.value from a field, since nothing else could be 0, received on-arrival',
    ])
    expect(label({ learn: 'at-once' })).toEqual(['label.learn: expected when-due or on-arrival, received at-once'])
    expect(label({ ...sides, otherwise: 'unknown', learn: 'when-due' })).toEqual([
      "label.learn: expected on-arrival, or otherwise: { value: 'unknown', after } with the time to wait for, received when-due",
    ])
    expect(label({ otherwise: 'negative' })).toEqual([
      "label.otherwise: expected { value, after } or 'unknown', received negative",
    ])
  })

  test('one value for both outcomes', () => {
    expect(label({ otherwise: { value: 1, after: '1d' } })).toEqual([
      'label.otherwise.value: expected another value than label.value (1), received 1',
    ])
  })

  test.each([
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [-0.1, '-0.1'],
    ['1', '1'],
  ])('l2 %j', (l2, received) => {
    expect(mistakes({ model: logisticRegression({ l2: l2 as never }) })).toEqual([
      `model.l2: expected a number >= 0, received ${received}`,
    ])
  })

  test('a model that is none', () => {
    const models = 'logisticRegression(), mlp(), prior() or customModel()'
    expect(mistakes({ model: undefined })).toEqual([`model: expected ${models}, received nothing`])
    for (const kind of ['forest', 'constructor'])
      expect(mistakes({ model: { kind } })).toEqual([`model: expected ${models}, received {"kind":"${kind}"}`])
  })

  test('a delivery that there is not', () => {
    expect(mistakes({ delivery: 'at-most-once' })).toEqual([
      'delivery: expected one of exactly-once, at-least-once, received at-most-once',
    ])
    expect(mistakes({ delivery: 'at-least-once' })).toEqual([])
  })

  test('a scored stream that is none', () => {
    expect(mistakes({ scores: undefined })).toEqual(['scores: expected a stream, received nothing'])
    expect(mistakes({ scores: 'orders' })).toEqual(['scores: expected a stream, received orders'])
  })

  test('a pipeline that is none', () => {
    expect(() => compile(undefined as never)).toThrow(
      'The pipeline has 1 mistake:\n  pipeline: expected what definePipeline returns, received nothing',
    )
    const nothing = (definePipeline as unknown as Loose)()
    expect(checkDefinition(nothing).map(({ path }) => path)).toEqual([
      'name',
      'version',
      'scores',
      'features',
      'label',
      'model',
    ])
  })
})

describe('options of a start', () => {
  test.each(['run-1', 'a', 'A.b_c', '9'.repeat(64)])('namespace %s', (namespace) => {
    expect(checkNamespace(namespace)).toEqual([])
  })

  test.each(['a b', '.a', '-', 'ä', 'a'.repeat(65)])('namespace %s', (namespace) => {
    expect(() => compile(soundPipeline, { namespace })).toThrow(
      'namespace: expected letters, digits, dots, dashes and underscores that begin with a letter or digit, ' +
        `at most 64, received ${namespace}`,
    )
  })

  test.each([1, 12, 1_024])('%d partitions', (partitions) => {
    expect(checkPartitions(partitions)).toEqual([])
  })

  test.each([0, -1, 1.5, 1_025, Number.NaN])('%d partitions', (partitions) => {
    expect(checkPartitions(partitions)).toEqual([
      { path: 'partitions', expected: 'a whole number from 1 to 1024', received: String(partitions) },
    ])
  })
})
