/**
 * The broker suite: what every implementation of `runtime/broker.ts` must do. Called by the test files of Kafka and
 * of the memory broker with a way to make one.
 */
import { describe } from 'vitest'
import type { Broker } from '../../runtime/broker.ts'
import { type BrokerSuiteOptions, createBrokerFixture } from './broker-fixture.ts'
import { brokerGroupSuite } from './broker-group.ts'
import { brokerIsolationSuite } from './broker-isolation.ts'
import { brokerLogSuite } from './broker-log.ts'
import { brokerTransactionSuite } from './broker-transactions.ts'

export { brief, readPartition, record, unique, values } from './broker-fixture.ts'

export function brokerSuite(
  name: string,
  createBroker: () => Broker | Promise<Broker>,
  options: BrokerSuiteOptions,
): void {
  const fixture = createBrokerFixture(createBroker, options)
  describe(`${name} as a broker`, () => {
    brokerLogSuite(fixture)
    brokerTransactionSuite(fixture)
    brokerIsolationSuite(fixture)
    brokerGroupSuite(fixture)
  })
}
