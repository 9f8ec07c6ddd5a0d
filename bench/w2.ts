/** The second job that the peers were measured on: W1, then by terminal what was seen until a week ago; two stages, nine features. */
import { count, definePipeline, entity, logisticRegression, mean } from '../schemas/definition/definition.ts'
import type { Duration } from '../schemas/kernel/duration.ts'
import { chargebacks, transactions } from './peer-streams.ts'

const { amount, customerId, terminalId } = transactions.fields
const customer = entity('customer', [customerId])
const terminal = entity('terminal', [terminalId])
const seen = (over: Duration) => count(transactions, { by: terminal, over, lag: '7d' })

export default definePipeline({
  name: 'w2',
  version: 1,
  scores: transactions,
  features: {
    count1d: count(transactions, { by: customer, over: '1d' }),
    mean1d: mean(amount, { by: customer, over: '1d' }),
    count7d: count(transactions, { by: customer, over: '7d' }),
    mean7d: mean(amount, { by: customer, over: '7d' }),
    count30d: count(transactions, { by: customer, over: '30d' }),
    mean30d: mean(amount, { by: customer, over: '30d' }),
    seen1d: seen('1d'),
    seen7d: seen('7d'),
    seen30d: seen('30d'),
  },
  label: { from: chargebacks, value: 1, otherwise: { value: 0, after: '7d' } },
  model: logisticRegression({ l2: 1 }),
})
