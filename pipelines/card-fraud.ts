/** Card fraud after the public Fraud Detection Handbook: 15 features of a transaction, chargebacks as late labels. */

import {
  better,
  count,
  definePipeline,
  derive,
  entity,
  mean,
  mlp,
  number,
  stream,
  text,
  timestamp,
} from '../schemas/definition/definition.ts'
import type { Duration } from '../schemas/kernel/duration.ts'

const transactions = stream('transactions', {
  id: 'txId',
  key: 'customerId',
  time: 'at',
  fields: {
    txId: text(),
    customerId: text(),
    terminalId: text(),
    amount: number({ min: 0, decimals: 2 }),
    at: timestamp(),
  },
})

/** Only frauds are ever reported, days later. */
const chargebacks = stream('chargebacks', {
  id: 'txId',
  key: 'customerId',
  time: 'reportedAt',
  fields: { txId: text(), customerId: text(), terminalId: text(), txAt: timestamp(), reportedAt: timestamp() },
})

const { amount, at } = transactions.fields
const customer = entity('customer', [transactions.fields.customerId, chargebacks.fields.customerId])
const terminal = entity('terminal', [transactions.fields.terminalId, chargebacks.fields.terminalId])

/** Fraud takes up to a week to be reported, so a terminal's risk is computed from what is older than that. */
const lag = '7d'
const seen = (over: Duration) => count(transactions, { by: terminal, over, lag })
const frauds = (over: Duration) => count(chargebacks, { by: terminal, over, lag, at: chargebacks.fields.txAt })
const risk = (over: Duration) => derive([frauds(over), seen(over)], (bad, all) => (all === 0 ? 0 : bad / all))

export default definePipeline({
  name: 'card-fraud',
  version: 1,
  scores: transactions,
  features: {
    amount,
    weekend: derive([at], (ms) => Number([0, 6].includes(new Date(ms).getUTCDay()))),
    night: derive([at], (ms) => Number(new Date(ms).getUTCHours() <= 6)),
    customerCount1d: count(transactions, { by: customer, over: '1d' }),
    customerMean1d: mean(amount, { by: customer, over: '1d' }),
    customerCount7d: count(transactions, { by: customer, over: '7d' }),
    customerMean7d: mean(amount, { by: customer, over: '7d' }),
    customerCount30d: count(transactions, { by: customer, over: '30d' }),
    customerMean30d: mean(amount, { by: customer, over: '30d' }),
    terminalCount1d: seen('1d'),
    terminalRisk1d: risk('1d'),
    terminalCount7d: seen('7d'),
    terminalRisk7d: risk('7d'),
    terminalCount30d: seen('30d'),
    terminalRisk30d: risk('30d'),
  },
  label: { from: chargebacks, value: 1, otherwise: { value: 0, after: '7d' } },
  model: mlp({ hidden: [64, 32] }),
  learn: {
    continuously: { publishEvery: '1d' },
    retrain: { every: '7d', over: '28d' },
    promoteIf: better('averagePrecision'),
  },
})
