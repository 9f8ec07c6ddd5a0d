import { inject } from 'vitest'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { brokerSuite } from '../conformance/broker.ts'
import { kafkaSuiteOptions } from '../support/kafka-suite.ts'

const brokers = inject('kafkaBrokers').split(',')

brokerSuite('Kafka', () => createKafkaBroker({ brokers, clientId: 'millrace-test' }), kafkaSuiteOptions(brokers))
