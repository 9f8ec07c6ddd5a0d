/**
 * A definition with as many features as asked, after card-fraud: two entities, fields and flags of the event, windows by the account, and
 * by the shop until a day ago, a perceptron. Called by `measure.ts`.
 */
import {
  type Aggregate,
  count,
  definePipeline,
  derive,
  entity,
  type Feature,
  max,
  mean,
  mlp,
  number,
  type Pipeline,
  stream,
  sum,
  text,
  timestamp,
  type Window,
} from '../../schemas/definition/definition.ts'
import type { Duration } from '../../schemas/kernel/duration.ts'

/** `sliding`: counts, sums and means. `max`: the first feature over the longest window by the account is a maximum instead. */
export type CostKind = 'sliding' | 'max'

export const payments = stream('payments', {
  id: 'paymentId',
  key: 'accountId',
  time: 'at',
  fields: {
    paymentId: text(),
    accountId: text(),
    shopId: text(),
    amount: number({ min: 0, decimals: 2 }),
    tax: number({ min: 0, decimals: 2 }),
    fee: number({ min: 0, decimals: 2 }),
    at: timestamp(),
  },
})

/** A definition needs a label; nothing is computed from it. */
const disputes = stream('disputes', {
  id: 'paymentId',
  key: 'accountId',
  time: 'at',
  fields: { paymentId: text(), accountId: text(), at: timestamp() },
})

const { accountId, amount, at, fee, shopId, tax } = payments.fields
const account = entity('account', [accountId])
const shop = entity('shop', [shopId])
const lag = '1d'

/** Facts of an entity are those of its longest window, of 30 days. The windows of the last rows come with more features. */
const windows: ReadonlyArray<readonly Duration[]> = [
  ['1d', '7d', '30d'],
  ['6h', '3d', '14d'],
  ['12h', '2d', '21d'],
]
const measures: ReadonlyArray<Readonly<Record<string, (window: Window) => Aggregate>>> = [
  { count: (window) => count(payments, window), meanAmount: (window) => mean(amount, window) },
  { sumAmount: (window) => sum(amount, window), meanTax: (window) => mean(tax, window) },
  { sumTax: (window) => sum(tax, window), meanFee: (window) => mean(fee, window) },
]

const eventFeatures: Readonly<Record<string, Feature>> = {
  amount,
  weekend: derive([at], (ms) => Number([0, 6].includes(new Date(ms).getUTCDay()))),
  night: derive([at], (ms) => Number(new Date(ms).getUTCHours() <= 6)),
}

/** Half of the aggregates are by the account, half by the shop; the first 15 features are of the same kinds as those of card-fraud. */
export function costDefinition(features: number, kind: CostKind): Pipeline {
  const [byAccount, byShop] = [aggregates('account', { by: account }), aggregates('shop', { by: shop, lag })]
  const both = byAccount.flatMap((one, i) => [one, byShop[i]!])
  const all = [...Object.entries(eventFeatures), ...both]
  if (features > all.length) throw new Error(`expected at most ${all.length} features, received ${features}`)
  const chosen = Object.fromEntries(all.slice(0, features))
  if (kind === 'max') chosen.accountMeanAmount30d = max(amount, { by: account, over: '30d' })
  return definePipeline({
    name: 'costs',
    version: 1,
    scores: payments,
    features: chosen,
    label: { from: disputes, value: 1, otherwise: { value: 0, after: '7d' } },
    model: mlp({ hidden: [64, 32] }),
  })
}

function aggregates(name: string, by: Omit<Window, 'over'>): Array<[string, Feature]> {
  return windows.flatMap((row) =>
    measures.flatMap((pair) =>
      row.flatMap((over) =>
        Object.entries(pair).map(([measure, of]): [string, Feature] => [
          `${name}${measure[0]!.toUpperCase()}${measure.slice(1)}${over}`,
          of({ ...by, over }),
        ]),
      ),
    ),
  )
}
