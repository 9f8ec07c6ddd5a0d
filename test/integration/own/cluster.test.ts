/**
 * Three real brokers with TLS and SASL: transactions and fencing as on one, and a pipeline of two processes that continues by itself while
 * the brokers that coordinate its group and its transactions are killed one after the other and come back: nothing lost or doubled.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../../runtime/config/config.ts'
import { kafkaSecurity } from '../../../runtime/config/security.ts'
import { createKafkaBroker } from '../../../runtime/kafka/broker.ts'
import { createConnections } from '../../../runtime/kafka/connections.ts'
import { transactionalIdOf } from '../../../runtime/kafka/transactional-ids.ts'
import { findJava } from '../../../runtime/servers/kafka-jars.ts'
import { createBrokerFixture } from '../../conformance/broker-fixture.ts'
import { brokerTransactionSuite } from '../../conformance/broker-transactions.ts'
import { type Cluster, startCluster } from '../../support/cluster.ts'
import { createHandbookRun, eventually, type HandbookRun } from '../../support/handbook-run.ts'
import { startOwnRedis } from '../../support/killable-servers.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-cluster-'))
let cluster: Cluster

/** Servers that are given by their address are no brokers to kill. */
const missing = await findJava(process.env).then(
  () => null,
  (error: Error) => error.message,
)
if (missing !== null) console.log(`LEFT OUT: three brokers, which are started from Kafka's jars. ${missing}`)

beforeAll(async () => {
  if (missing !== null) return
  cluster = await startCluster(folder, resolve('.millrace/cache'))
}, 180_000)
afterAll(async () => {
  await cluster?.close()
  rmSync(folder, { recursive: true, force: true })
})

function settings(): Record<string, string> {
  const { ca, clientCert, clientKey } = cluster.certificates
  return {
    KAFKA_BROKERS: cluster.addresses.join(','),
    KAFKA_TLS: 'on',
    KAFKA_TLS_CA_FILE: ca,
    KAFKA_TLS_CERT_FILE: clientCert,
    KAFKA_TLS_KEY_FILE: clientKey,
    KAFKA_SASL_MECHANISM: 'scram-sha-512',
    KAFKA_SASL_USERNAME: 'admin',
    KAFKA_SASL_PASSWORD: cluster.password,
  }
}

const security = () => kafkaSecurity(parseConfig(settings()))

describe.skipIf(missing !== null)('of a cluster', () => {
  const unused = () => Promise.reject(new Error('no part of these tests'))
  const open = () => createKafkaBroker({ brokers: cluster.addresses, clientId: 'millrace-test', ...security() })
  brokerTransactionSuite(createBrokerFixture(open, { truncate: unused, openTransaction: unused }))
})

/** Nodes that coordinate the group and the transactions of a worker, as they are now. */
async function coordinatorsOf(run: HandbookRun, worker: string): Promise<{ group: number; transactions: number }> {
  const options = {
    clientId: 'millrace-test',
    connectTimeoutMs: 5_000,
    requestTimeoutMs: 10_000,
    retryBudgetMs: 30_000,
  }
  const connections = createConnections({
    brokers: cluster.addresses,
    log: () => undefined,
    ...options,
    ...security(),
  })
  try {
    const [group, transactions] = await Promise.all([
      connections.coordinator('group', run.group),
      connections.coordinator('transaction', transactionalIdOf(run.group, worker)),
    ])
    return { group, transactions }
  } finally {
    await connections.close()
  }
}

test.skipIf(missing !== null)(
  'the coordinators of a pipeline are killed and come back',
  { timeout: 240_000 },
  async () => {
    const redis = await startOwnRedis(join(folder, 'redis'))
    onTestFinished(redis.close)
    const run = createHandbookRun({
      name: 'cluster',
      kafkaBrokers: cluster.addresses.join(','),
      redisUrl: redis.address,
      hours: 9,
      settings: settings(),
    })
    const processes = [await run.start('worker-1'), await run.start('worker-2')]
    const isShared = async () =>
      (await run.broker.groups.describe(run.group)).members.filter(({ tasks }) => tasks.length === 4).length === 2
    await eventually(isShared, 'four tasks each', () => run.group)
    await run.watch()
    onTestFinished(() => console.log(`seconds to new predictions after a kill: ${waited.join(', ')}`))
    const waited: string[] = []
    const producers = [
      { from: 0, until: 7, who: 'group' },
      { from: 7, until: 9, who: 'transactions' },
    ] as const
    for (const { who, ...hours } of producers) {
      const before = run.received.length
      const produce = run.produceHours(200, hours)
      await run.untilPredicted(before + 100)
      const nodeId = (await coordinatorsOf(run, 'worker-1'))[who]
      await cluster.kill(nodeId)
      const killed = { atMs: Date.now(), received: run.received.length }
      await run.untilPredicted(killed.received + 200)
      waited.push(`${who} ${((Date.now() - killed.atMs) / 1_000).toFixed(1)}`)
      const moved = await coordinatorsOf(run, 'worker-1')
      expect(moved[who]).not.toBe(nodeId)
      await cluster.restart(nodeId)
      expect(await produce.exitCode, produce.output()).toBe(0)
    }
    await run.expectQuiet()
    for (const one of processes) {
      one.child.kill('SIGTERM')
      expect(await one.exitCode, one.output()).toBe(0)
    }
  },
)
