/** The job that the peers were measured on: one entity, count and mean of the amount over 1, 7 and 30 days, six features, no model. */
import { count, definePipeline, entity, logisticRegression, mean } from '../schemas/definition/definition.ts'
import { chargebacks, transactions } from './peer-streams.ts'

const { amount } = transactions.fields
const customer = entity('customer', [transactions.fields.customerId])

export default definePipeline({
  name: 'w1',
  version: 1,
  scores: transactions,
  features: {
    count1d: count(transactions, { by: customer, over: '1d' }),
    mean1d: mean(amount, { by: customer, over: '1d' }),
    count7d: count(transactions, { by: customer, over: '7d' }),
    mean7d: mean(amount, { by: customer, over: '7d' }),
    count30d: count(transactions, { by: customer, over: '30d' }),
    mean30d: mean(amount, { by: customer, over: '30d' }),
  },
  label: { from: chargebacks, value: 1, otherwise: { value: 0, after: '7d' } },
  model: logisticRegression({ l2: 1 }),
})
