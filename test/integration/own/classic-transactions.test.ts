/**
 * Transactions on a cluster that adds nothing to them by itself, as every Kafka before 4.0 and one that was upgraded without its features:
 * the same suite as on the other kind, and that each is taken for what it is.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createKafkaBroker } from '../../../runtime/kafka/broker.ts'
import { createConnections } from '../../../runtime/kafka/connections.ts'
import {
  classicTransactions,
  implicitTransactions,
  transactionProtocol,
} from '../../../runtime/kafka/transaction-protocol.ts'
import { freePort } from '../../../runtime/servers/free-port.ts'
import { startLocalKafka } from '../../../runtime/servers/local-kafka.ts'
import type { RunningServer } from '../../../runtime/servers/start-server.ts'
import { createBrokerFixture } from '../../conformance/broker-fixture.ts'
import { brokerIsolationSuite } from '../../conformance/broker-isolation.ts'
import { brokerTransactionSuite } from '../../conformance/broker-transactions.ts'
import { kafkaSuiteOptions } from '../../support/kafka-suite.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-classic-'))
const brokers: string[] = []
const running: RunningServer[] = []

async function start(name: string, formatArgs: readonly string[]): Promise<string> {
  const broker = await freePort(undefined, [])
  const controller = await freePort(undefined, [broker])
  const setup = {
    folder: join(folder, name),
    cacheFolder: resolve('.millrace/cache'),
    ephemeral: true,
    environment: process.env,
    printLine: () => undefined,
  }
  running.push(await startLocalKafka(setup, { broker, controller }, { formatArgs, heapMb: 256 }))
  return `127.0.0.1:${broker}`
}

async function protocolOf(address: string) {
  const options = { brokers: [address], clientId: 'millrace-test', retryBudgetMs: 10_000, connectTimeoutMs: 5_000 }
  const connections = createConnections({ ...options, requestTimeoutMs: 10_000, log: () => undefined })
  try {
    const { nodes } = await connections.metadata([])
    return await transactionProtocol(connections, nodes[0]!.nodeId)
  } finally {
    await connections.close()
  }
}

beforeAll(async () => {
  brokers.push(await start('classic', ['--feature', 'transaction.version=0']))
}, 120_000)

afterAll(async () => {
  for (const server of running) await server.close()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

describe('Kafka without implicit transactions', () => {
  const fixture = createBrokerFixture(
    () => createKafkaBroker({ brokers, clientId: 'millrace-test' }),
    kafkaSuiteOptions(brokers),
  )
  brokerTransactionSuite(fixture)
  brokerIsolationSuite(fixture)

  test('is taken for what it is, and one with them as well', async () => {
    expect(await protocolOf(brokers[0]!)).toBe(classicTransactions)
    expect(await protocolOf(await start('implicit', []))).toBe(implicitTransactions)
  })
})
