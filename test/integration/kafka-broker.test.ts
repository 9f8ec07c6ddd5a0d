import { Kafka, logLevel } from 'kafkajs'
import { inject, onTestFinished } from 'vitest'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { transactionalIdOf } from '../../runtime/kafka/transactional-ids.ts'
import { brokerSuite } from '../conformance/broker.ts'

const brokers = inject('kafkaBrokers').split(',')
const stock = new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 5 } })

brokerSuite('Kafka', () => createKafkaBroker({ brokers, clientId: 'millrace-test' }), {
  async truncate({ topic, partition }, before) {
    const admin = stock.admin()
    await admin.connect()
    try {
      await admin.fetchTopicOffsets(topic) // kafkajs deletes only where it has met the topic before
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
    } finally {
      await admin.disconnect()
    }
  },

  async openTransaction(_, { group, worker, records, offsets }) {
    const transactionalId = transactionalIdOf(group, worker)
    const producer = stock.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    onTestFinished(() => producer.disconnect())
    const transaction = await producer.transaction()
    for (const { topic, partition, key, value } of records) {
      await transaction.send({ topic, messages: [{ partition, key, value }] })
    }
    if (offsets.length > 0) {
      const topics = offsets.map(({ topic, partition, offset }) => {
        return { topic, partitions: [{ partition, offset: String(offset) }] }
      })
      await transaction.sendOffsets({ consumerGroupId: group, topics })
    }
    return { commit: () => transaction.commit(), abort: () => transaction.abort() }
  },
})
