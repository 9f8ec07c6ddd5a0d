/** What the broker suite needs of a real Kafka beside our client: kafkajs as the operator and as the other producer. */
import { Kafka, logLevel } from 'kafkajs'
import { onTestFinished } from 'vitest'
import { transactionalIdOf } from '../../runtime/kafka/transactional-ids.ts'
import type { BrokerSuiteOptions } from '../conformance/broker-fixture.ts'

/** `brokers` may be filled until a test runs. */
export function kafkaSuiteOptions(brokers: string[]): BrokerSuiteOptions {
  const stock = () => new Kafka({ brokers, logLevel: logLevel.NOTHING, retry: { initialRetryTime: 5 } })
  return {
    async truncate({ topic, partition }, before) {
      const admin = stock().admin()
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
      const producer = stock().producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
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
  }
}
