/**
 * Three real brokers of one Kafka cluster with TLS and SASL, each broker and controller, with small heaps: for tests that kill one of them
 * or move what it coordinates. Their PLAINTEXT listeners are for the brokers among each other.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../../runtime/servers/free-port.ts'
import { killGroup } from '../../runtime/servers/guarded-process.ts'
import { type LocalKafkaPorts, startLocalKafka } from '../../runtime/servers/local-kafka.ts'
import type { RunningServer } from '../../runtime/servers/start-server.ts'
import { type Certificates, makeCertificates } from './certificates.ts'
import { kafkaSettings, passwords, scramUsers } from './secured-servers.ts'

export interface Cluster {
  readonly certificates: Certificates
  /** host:port of the secured listeners, in the order of the node ids from 1 on. */
  readonly addresses: readonly string[]
  readonly password: string
  /** kill -9 */
  kill(nodeId: number): Promise<void>
  restart(nodeId: number): Promise<void>
  close(): Promise<void>
}

interface Node extends LocalKafkaPorts {
  readonly nodeId: number
  readonly secured: number
  readonly folder: string
}

/** On three brokers, what their data and their coordinators' is kept on; two are enough to continue. */
const replicated = {
  'default.replication.factor': '3',
  'min.insync.replicas': '2',
  'offsets.topic.replication.factor': '3',
  'transaction.state.log.replication.factor': '3',
  'transaction.state.log.min.isr': '2',
}
/** A broker that is dead is noticed by the others after this, ms: the default of 9 s makes a test long. */
const brokerSessionMs = 3_000

export async function startCluster(folder: string, cacheFolder: string): Promise<Cluster> {
  await mkdir(folder, { recursive: true })
  const certificates = await makeCertificates(folder)
  const taken: number[] = []
  const port = async () => {
    taken.push(await freePort(undefined, taken))
    return taken.at(-1)!
  }
  const nodes: Node[] = []
  for (const nodeId of [1, 2, 3]) {
    const ports = { broker: await port(), controller: await port(), secured: await port() }
    nodes.push({ nodeId, folder: join(folder, `node-${nodeId}`), ...ports })
  }
  const clusterId = randomBytes(16).toString('base64url')
  const voters = nodes.map(({ nodeId, controller }) => `${nodeId}@127.0.0.1:${controller}`).join(',')
  const running = new Map<number, RunningServer>()

  async function start(node: Node): Promise<void> {
    await mkdir(node.folder, { recursive: true })
    const options = {
      folder: node.folder,
      cacheFolder,
      ephemeral: true,
      environment: process.env,
      printLine: () => undefined,
    }
    const settings = {
      ...kafkaSettings(certificates, node),
      ...replicated,
      'node.id': String(node.nodeId),
      'controller.quorum.voters': voters,
      'broker.session.timeout.ms': String(brokerSessionMs),
      'broker.heartbeat.interval.ms': '500',
      'controller.quorum.election.timeout.ms': '1000',
      'controller.quorum.fetch.timeout.ms': '2000',
      'log.cleaner.enable': 'false',
    }
    const additions = { settings, formatArgs: scramUsers(), clusterId, brokersMin: 2, heapMb: 256 }
    running.set(node.nodeId, await startLocalKafka(options, node, additions))
  }

  const close = async () => {
    await Promise.all([...running.values()].map((server) => server.close()))
  }
  const started = await Promise.allSettled(nodes.map(start))
  const failed = started.find((one) => one.status === 'rejected')
  if (failed !== undefined) {
    await close()
    throw failed.reason
  }
  const nodeOf = (nodeId: number) => nodes.find((node) => node.nodeId === nodeId)!
  return {
    certificates,
    addresses: nodes.map(({ secured }) => `127.0.0.1:${secured}`),
    password: passwords.admin,
    async kill(nodeId) {
      killGroup(Number(readFileSync(join(nodeOf(nodeId).folder, 'kafka.group'), 'utf8')))
      await running.get(nodeId)!.close()
    },
    restart: (nodeId) => start(nodeOf(nodeId)),
    close,
  }
}
