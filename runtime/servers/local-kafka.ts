/**
 * Starts a real single-node Kafka (KRaft, broker and controller in one) from its jars; called by `local-servers.ts`.
 */

import { randomBytes } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { lastLines, runCommand } from './command.ts'
import { fillOnce } from './fill-once.ts'
import { findJava, kafkaJars } from './kafka-jars.ts'
import type { LocalSetup } from './local-setup.ts'
import { type RunningServer, startServer } from './start-server.ts'
import { serverVersions } from './versions.ts'

const upMsMax = 90_000
const formatMs = 60_000
const stopGraceMs = 15_000
/**
 * Below `folder`; named without its path in the settings, where a comma or a letter beyond ASCII would need escapes.
 */
const logFolder = 'kafka'

export interface LocalKafkaPorts {
  readonly broker: number
  readonly controller: number
}

/** Beyond what every local Kafka has: tests switch on TLS, SASL and ACLs with these. */
export interface LocalKafkaAdditions {
  /** Over the settings of `kafkaProperties`. */
  readonly settings?: Readonly<Record<string, string>>
  /** Further arguments of the storage tool's `format`. */
  readonly formatArgs?: readonly string[]
  /** Of a cluster of several: all are formatted with the same; a new one by default. */
  readonly clusterId?: string
  /** It is ready when it sees this many brokers, itself included. */
  readonly brokersMin?: number
  readonly heapMb?: number
}

/** Errors: `server_missing`, `server_failed`, `port_in_use`. */
export async function startLocalKafka(
  setup: LocalSetup,
  ports: LocalKafkaPorts,
  additions: LocalKafkaAdditions = {},
): Promise<RunningServer> {
  const { folder, environment, printLine } = setup
  const { settings: added = {}, formatArgs = [], brokersMin = 1, heapMb = 768 } = additions
  const javaOptions = [`-Xmx${heapMb}m`, ...quietJava]
  const name = `Kafka ${serverVersions.kafka}`
  const java = await findJava(environment)
  const jars = await kafkaJars(setup.cacheFolder, environment, printLine)
  const classPath = join(jars, 'jars', '*')

  await fillOnce(join(folder, logFolder), async (partial) => {
    const formatSettings = join(partial, 'format.properties')
    await writeFile(formatSettings, kafkaProperties(ports, '.', added))
    const clusterId = `--cluster-id=${additions.clusterId ?? randomBytes(16).toString('base64url')}`
    const args = [
      ...javaOptions,
      briefJava,
      '-cp',
      classPath,
      'kafka.tools.StorageTool',
      'format',
      clusterId,
      '-c',
      formatSettings,
      ...formatArgs,
    ]
    const run = await runCommand(java.file, args, { environment, timeoutMs: formatMs, cwd: partial })
    if (run.missing || run.exitCode !== 0) {
      const output = run.missing ? '' : run.output
      const sentence = `${name} could not format its log folder ${join(folder, logFolder)}.`
      throw new PipelineError('server_failed', `${sentence} Its last lines:\n${lastLines(output, 12)}`)
    }
    await rm(formatSettings)
  })

  const settings = join(folder, 'kafka.properties')
  await writeFile(settings, kafkaProperties(ports, logFolder, added))
  const address = `127.0.0.1:${ports.broker}`
  const logPath = join(folder, 'kafka.log')
  const running = await startServer({
    name,
    address,
    file: java.file,
    args: [
      ...javaOptions,
      // Kept servers live long enough for the better compiler, those of a test run do not.
      ...(setup.ephemeral ? [briefJava] : []),
      '-cp',
      classPath,
      'kafka.Kafka',
      settings,
    ],
    cwd: folder,
    environment,
    logPath,
    groupPath: join(folder, 'kafka.group'),
    stopGraceMs,
    upMsMax,
    probe: () => askKafka(address, brokersMin),
    printLine,
  })
  printLine(`${name} (jars, Java ${java.version}) at ${address}, log ${logPath}`)
  return running
}

const quietJava = [
  '-XX:+UseSerialGC',
  '-Dorg.slf4j.simpleLogger.showDateTime=true',
  '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS',
  // At info every start and stop writes hundreds of lines, which hide the reason of a failure.
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
]

/** Only the quick compiler: for a Java that lives for seconds or minutes. */
const briefJava = '-XX:TieredStopAtLevel=1'

/** How a broker of development and tests behaves, wherever it runs: from its jars, in `docker-compose.yml`, in a test's container. */
export const brokerSettings: Readonly<Record<string, string | number>> = {
  'auto.create.topics.enable': 'false',
  'log.message.timestamp.type': 'LogAppendTime',
  'offsets.topic.replication.factor': 1,
  'offsets.topic.num.partitions': 4,
  'transaction.state.log.replication.factor': 1,
  'transaction.state.log.min.isr': 1,
  'transaction.state.log.num.partitions': 4,
  'group.initial.rebalance.delay.ms': 0,
  'group.min.session.timeout.ms': 500,
  // The default of 128 MB is a sixth of this heap, for a cleaner that has little to do.
  'log.cleaner.dedupe.buffer.size': 16_777_216,
}

/** The settings file. `logFolder` is relative to the folder that Kafka is started in. */
export function kafkaProperties(
  ports: LocalKafkaPorts,
  logFolder: string,
  added: Readonly<Record<string, string>> = {},
): string {
  const settings: Record<string, string | number> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${ports.broker},CONTROLLER://127.0.0.1:${ports.controller}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${ports.broker}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': logFolder,
    ...brokerSettings,
    ...added,
  }
  return Object.entries(settings)
    .map(([setting, value]) => `${setting}=${value}\n`)
    .join('')
}

/** Resolves when the broker answers a metadata request and counts itself as a member of its cluster. */
async function askKafka(address: string, brokersMin: number): Promise<void> {
  const kafka = new Kafka({
    clientId: 'millrace-probe',
    brokers: [address],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    requestTimeout: 5_000,
    retry: { retries: 0 },
  })
  const admin = kafka.admin()
  try {
    await admin.connect()
    const cluster = await admin.describeCluster()
    if (cluster.brokers.length < brokersMin) throw new Error(`The cluster has ${cluster.brokers.length} brokers yet`)
  } finally {
    await admin.disconnect()
  }
}
