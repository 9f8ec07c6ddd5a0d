/** A sound definition of two streams and two entities that the tests of this room bend. */
import {
  count,
  definePipeline,
  derive,
  entity,
  flag,
  integer,
  logisticRegression,
  mean,
  number,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'

export const orders = stream('orders', {
  id: 'orderId',
  key: 'buyerId',
  time: 'at',
  fields: {
    orderId: text(),
    buyerId: text(),
    shopId: text(),
    note: text({ optional: true }),
    amount: number({ min: 0, decimals: 2 }),
    weight: number({ optional: true }),
    pieces: integer({ min: 1 }),
    gift: flag(),
    at: timestamp(),
    sentAt: timestamp({ optional: true }),
  },
})

export const returns = stream('returns', {
  id: 'orderId',
  key: 'buyerId',
  time: 'returnedAt',
  fields: {
    orderId: text(),
    buyerId: text(),
    shopId: text(),
    refund: number(),
    orderedAt: timestamp(),
    returnedAt: timestamp(),
  },
})

export const buyer = entity('buyer', [orders.fields.buyerId, returns.fields.buyerId])
export const shop = entity('shop', [orders.fields.shopId, returns.fields.shopId])

export const sound = {
  name: 'returned-orders',
  version: 1,
  scores: orders,
  features: {
    amount: orders.fields.amount,
    gift: orders.fields.gift,
    perPiece: derive([orders.fields.amount, orders.fields.pieces], (amount, pieces) => amount / pieces),
    buyerCount1d: count(orders, { by: buyer, over: '1d' }),
    buyerMean7d: mean(orders.fields.amount, { by: buyer, over: '7d' }),
    shopReturns30d: count(returns, { by: shop, over: '30d' }),
  },
  label: { from: returns, value: 1, otherwise: { value: 0, after: '14d' } },
  model: logisticRegression(),
} as const

export const soundPipeline = definePipeline(sound)
