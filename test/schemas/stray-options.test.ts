/** Options that no builder takes are mistakes: with their path, what is taken, the nearest name and the value. */
import { describe, expect, test } from 'vitest'
import {
  count,
  customModel,
  flag,
  integer,
  logisticRegression,
  mlp,
  number,
  prior,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { type Loose, mistakes, withFeature, withField, withStream } from './mistakes.ts'
import { buyer, orders, sound, soundPipeline } from './shop-definition.ts'

const loosely = (builder: unknown) => builder as Loose
const takes = 'id, key, time, fields, topic, disorder, lateness, ahead, instants or rekey'
const mine = { name: 'mine', fit: () => 0.5, predictor: () => () => 0.5 }

describe('a misspelt option', () => {
  test.each([
    [
      'latenes',
      '2h',
      `streams.orders.latenes: expected an option of stream(): ${takes}; the nearest is lateness, received 2h`,
    ],
    ['name', 'x', `streams.orders.name: expected an option of stream(): ${takes}; the nearest is time, received x`],
    ['kind', 'x', `streams.orders.kind: expected an option of stream(): ${takes}; the nearest is id, received x`],
    ['specs', 1, `streams.orders.specs: expected an option of stream(): ${takes}, received 1`],
  ])('of a stream: %s', (option, value, mistake) => {
    expect(withStream({ [option]: value })).toEqual([mistake])
  })

  test.each([
    [text, 'lengthmax', 'text(): optional or lengthMax; the nearest is lengthMax'],
    [text, 'kind', 'text(): optional or lengthMax'],
    [number, 'decimal', 'number(): optional, min, max or decimals; the nearest is decimals'],
    [integer, 'Min', 'integer(): optional, min or max; the nearest is min'],
    [timestamp, 'optionl', 'timestamp(): optional, from or until; the nearest is optional'],
    [flag, 'optionl', 'flag(): optional'],
  ])('of a field', (builder, option, taken) => {
    const spec = loosely(builder)({ [option]: 1 })
    expect(withField(spec)).toEqual([
      `streams.orders.fields.extra.${option}: expected an option of ${taken}, received 1`,
    ])
  })

  test('of a window', () => {
    const odd = count(orders, { by: buyer, over: '1d', lagg: '1d' } as never)
    expect(withFeature(odd)).toEqual([
      'features.buyerMean7d.lagg: expected an option of count(): by, over, lag or at; the nearest is lag, received 1d',
    ])
  })

  test.each([
    [
      { ...sound.label, form: 1 },
      'label.form: expected an option of label: from, value, otherwise or learn; the nearest is from',
    ],
    [
      { ...sound.label, otherwise: { value: 0, after: '1d', afer: 1 } },
      'label.otherwise.afer: expected an option of otherwise: value or after; the nearest is after',
    ],
  ])('of a label', (label, mistake) => {
    expect(mistakes({ label })).toEqual([`${mistake}, received 1`])
  })

  test('of a pipeline', () => {
    expect(mistakes({ lern: {} })).toEqual([
      'lern: expected an option of definePipeline(): name, version, scores, features, label, model, learn, delivery or predictionFormat; ' +
        'the nearest is learn, received {}',
    ])
    expect(mistakes({ kind: 'pipeline' })).toEqual([])
    expect(() => compile({ ...soundPipeline, verison: 2 } as never)).toThrow(
      / {2}verison: expected an option of definePipeline/,
    )
  })

  test.each([
    [
      { retrain: { every: '1d', evry: 1 } },
      'learn.retrain.evry: expected an option of retrain: every, rows or over; the nearest is every',
    ],
    [
      { continuously: { publishEvery: '1h', publish: 1 } },
      'learn.continuously.publish: expected an option of continuously: publishEvery',
    ],
  ])('of learn', (learn, mistake) => {
    expect(mistakes({ learn })).toEqual([`${mistake}, received 1`])
  })

  test.each([
    [loosely(logisticRegression)({ L2: 5 }), 'L2', 'logisticRegression(): l2'],
    [{ ...logisticRegression(), L2: 5 }, 'L2', 'logisticRegression(): l2'],
    [
      loosely(mlp)({ hidden: [4], epoch: 5 }),
      'epoch',
      'mlp(): hidden, epochs, batchRows, learningRate or l2; the nearest is epochs',
    ],
    [
      customModel({ ...mine, lerner: 5 } as never),
      'lerner',
      'customModel(): name, fit, predictor, contributions or learner; the nearest is learner',
    ],
  ])('of a model', (model, option, taken) => {
    expect(mistakes({ model })).toEqual([`model.${option}: expected an option of ${taken}, received 5`])
  })

  test('of a model without any', () => {
    expect(mistakes({ model: loosely(prior)({ rate: 5 }) })).toEqual([
      'model.rate: expected no options of prior(), received 5',
    ])
  })
})

describe('something else than options', () => {
  test.each([null, 7, 'fast', [1]])('%j', (given) => {
    const shown = Array.isArray(given) ? '[1]' : String(given)
    expect(mistakes({ model: loosely(logisticRegression)(given) })).toEqual([
      `model: expected options of logisticRegression() as an object, received ${shown}`,
    ])
    expect(withField(loosely(number)(given))).toEqual([
      `streams.orders.fields.extra: expected options of number() as an object, received ${shown}`,
    ])
    expect(withFeature(loosely(count)(orders, given))).toContain(
      `features.buyerMean7d: expected options of count() as an object, received ${shown}`,
    )
  })
})
