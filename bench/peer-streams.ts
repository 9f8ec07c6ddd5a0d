/** The streams of the jobs that the peers were measured on. */
import { number, stream, text, timestamp } from '../schemas/definition/definition.ts'

export const transactions = stream('transactions', {
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

/** A definition needs a label; nothing is computed from it, so that `run` does not read it. */
export const chargebacks = stream('chargebacks', {
  id: 'txId',
  key: 'customerId',
  time: 'reportedAt',
  fields: { txId: text(), customerId: text(), terminalId: text(), txAt: timestamp(), reportedAt: timestamp() },
})
