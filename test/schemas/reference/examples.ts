/**
 * An example of every builder of definitions, and what is wrong with some calls of it: the text of each arrow function is printed in
 * docs/definition.md, after it was run. In the order of the page.
 */
import {
  better,
  count,
  customModel,
  definePipeline,
  derive,
  entity,
  flag,
  integer,
  logisticRegression,
  max,
  mean,
  min,
  mlp,
  number,
  prior,
  stream,
  sum,
  text,
  timestamp,
} from '../../../schemas/definition/definition.ts'
import type { Loose } from '../mistakes.ts'
import { buyer, orders, returns, sound } from '../shop-definition.ts'

/** As JavaScript sees a builder, so that mistakes that no compiler lets through can be shown. */
const js = (builder: unknown) => builder as Loose

export interface Example {
  /** What of `definition.ts` documents its options; null where it takes none. */
  readonly options: readonly string[]
  readonly example: () => unknown
  /** Each value in its place of a definition that is right otherwise. */
  readonly wrong: ReadonlyArray<() => unknown>
}

export const examples: Readonly<Record<string, Example>> = {
  definePipeline: {
    options: ['Definition', 'Label', 'Otherwise', 'LearnDefinition', 'Continuously', 'Retrain'],
    example: () =>
      definePipeline({
        name: 'returned-orders',
        version: 1,
        scores: orders,
        features: { amount: orders.fields.amount, orders7d: count(orders, { by: buyer, over: '7d' }) },
        label: { from: returns, value: 1, otherwise: { value: 0, after: '14d' } },
        model: logisticRegression(),
        learn: { continuously: true, promoteIf: better('auc') },
      }),
    wrong: [
      () => js(definePipeline)({ ...sound, verison: 2 }),
      () => js(definePipeline)({ ...sound, label: { ...sound.label, value: returns.fields.refund } }),
      () => js(definePipeline)({ ...sound, label: { ...sound.label, otherwise: 'unknown' } }),
      () => js(definePipeline)({ ...sound, learn: { retrain: { over: '28d' } } }),
    ],
  },
  stream: {
    options: ['StreamOptions', 'Instants'],
    example: () =>
      stream('payments', {
        id: 'paymentId',
        key: 'userId',
        time: 'at',
        lateness: '2h',
        instants: { from: '1960-01-01' },
        fields: { paymentId: text(), userId: text(), at: timestamp() },
      }),
    wrong: [
      () => js(stream)('orders', { id: 'at', key: 'userId', time: 'at', fields: { userId: text(), at: timestamp() } }),
      () =>
        js(stream)('orders', {
          id: 'id',
          key: 'id',
          time: 'at',
          latenes: '2h',
          fields: { id: text(), at: timestamp() },
        }),
      () =>
        js(stream)('orders', { id: 'id', key: 'id', time: 'at', ahead: 5, fields: { id: text(), at: timestamp() } }),
    ],
  },
  text: {
    options: ['TextOptions', 'FieldOptions'],
    example: () => text({ lengthMax: 64 }),
    wrong: [() => js(text)({ lengthMax: 0 }), () => js(text)({ min: 1 })],
  },
  number: {
    options: ['NumberOptions', 'IntegerOptions', 'FieldOptions'],
    example: () => number({ min: 0, decimals: 2 }),
    wrong: [() => number({ min: 2, max: 1 }), () => number({ decimals: 10 })],
  },
  integer: {
    options: ['IntegerOptions', 'FieldOptions'],
    example: () => integer({ min: 0, max: 1, optional: true }),
    wrong: [() => integer({ min: 0.2, max: 0.8 })],
  },
  timestamp: {
    options: ['TimestampOptions', 'FieldOptions'],
    example: () => timestamp({ from: '1900-01-01', optional: true }),
    wrong: [() => timestamp({ from: '30 May' })],
  },
  flag: {
    options: ['FieldOptions'],
    example: () => flag({ optional: true }),
    wrong: [() => js(flag)({ optional: 'yes' })],
  },
  entity: {
    options: [],
    example: () => entity('account', [orders.fields.buyerId, returns.fields.buyerId]),
    wrong: [],
  },
  count: {
    options: ['Window'],
    example: () => count(returns, { by: buyer, over: '30d', lag: '7d', at: returns.fields.orderedAt }),
    wrong: [() => count(orders, { by: buyer, over: '0s' }), () => js(count)(orders, { by: buyer, over: '7 days' })],
  },
  sum: {
    options: ['Window'],
    example: () => sum(orders.fields.amount, { by: buyer, over: '7d' }),
    wrong: [() => js(sum)(orders.fields.shopId, { by: buyer, over: '7d' })],
  },
  mean: {
    options: ['Window'],
    example: () => mean(orders.fields.amount, { by: buyer, over: '7d' }),
    wrong: [() => js(mean)(orders.fields.gift, { by: buyer, over: '7d' })],
  },
  min: { options: ['Window'], example: () => min(orders.fields.amount, { by: buyer, over: '7d' }), wrong: [] },
  max: { options: ['Window'], example: () => max(orders.fields.at, { by: buyer, over: '7d', lag: '1ms' }), wrong: [] },
  derive: {
    options: [],
    example: () => derive([orders.fields.amount, orders.fields.pieces], (amount, pieces) => amount / pieces),
    wrong: [() => derive([], () => 1), () => js(derive)([orders.fields.amount])],
  },
  logisticRegression: {
    options: ['LogisticOptions'],
    example: () => logisticRegression({ l2: 0.5 }),
    wrong: [() => js(logisticRegression)({ L2: 5 }), () => logisticRegression({ l2: -1 })],
  },
  mlp: {
    options: ['MlpOptions'],
    example: () => mlp({ hidden: [64, 32], epochs: 10 }),
    wrong: [() => mlp({ hidden: [] }), () => js(mlp)({ hidden: [8], epoch: 3 })],
  },
  prior: { options: [], example: () => prior(), wrong: [() => js(prior)({ rate: 0.1 })] },
  customModel: {
    options: ['CustomModelOptions'],
    example: () =>
      customModel({
        name: 'share',
        fit: ({ labels }) => labels.reduce((total, label) => total + label, 0) / labels.length,
        predictor: (share) => () => share,
      }),
    wrong: [() => js(customModel)({ name: 'share', fit: () => 0.5 })],
  },
  better: { options: [], example: () => better('logLoss'), wrong: [() => js(better)('accuracy')] },
}
