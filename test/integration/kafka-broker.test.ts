import { Kafka, logLevel } from 'kafkajs'
import { inject } from 'vitest'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { brokerSuite } from '../conformance/broker.ts'

const brokers = inject('kafkaBrokers').split(',')

brokerSuite('Kafka', () => createKafkaBroker({ brokers, clientId: 'millrace-test' }), {
  async truncate({ topic, partition }, before) {
    const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
    await admin.connect()
    try {
      await admin.fetchTopicOffsets(topic) // kafkajs deletes only where it has met the topic before
      await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
    } finally {
      await admin.disconnect()
    }
  },
})
