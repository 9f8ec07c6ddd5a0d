/**
 * A Kafka and a Redis in containers for one test run, where Docker's engine answers; called by the global set-up and by Vitest's
 * settings.
 */
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers'
import { freePort } from '../../runtime/servers/free-port.ts'
import { brokerSettings } from '../../runtime/servers/local-kafka.ts'
import type { Servers } from '../../runtime/servers/local-servers.ts'
import { serverVersions } from '../../runtime/servers/versions.ts'

const upMsMax = 300_000
const inner = { broker: 9_092, own: 19_092, controller: 9_093 } as const

/** Where containers' ports are published; null where no engine answers. */
export async function containerHost(): Promise<string | null> {
  try {
    return (await getContainerRuntimeClient()).info.containerRuntime.host
  } catch (error) {
    // Its only failure: no strategy to reach an engine worked.
    if (error instanceof Error && error.message.includes('container runtime')) return null
    throw error
  }
}

/** Rejects where an image cannot be had or a server does not come up; nothing is left running then. */
export async function startContainers(host: string, printLine: (line: string) => void): Promise<Servers> {
  // Kafka advertises its address to clients, so its port is chosen before it starts.
  const port = await freePort(undefined, [])
  const settled = await Promise.allSettled([startKafka(host, port), startRedis()])
  const started = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const stop = async () => {
    await Promise.all(started.map((container) => container.stop()))
  }
  const [kafka, redis] = settled
  if (kafka.status === 'rejected' || redis.status === 'rejected') {
    await stop()
    throw kafka.status === 'rejected' ? kafka.reason : (redis as PromiseRejectedResult).reason
  }
  const addresses = {
    kafkaBrokers: `${host}:${port}`,
    redisUrl: `redis://${redis.value.getHost()}:${redis.value.getMappedPort(6_379)}`,
  }
  printLine(
    `Containers: ${serverVersions.kafkaImage} at ${addresses.kafkaBrokers}, ${serverVersions.redisImage} at ${addresses.redisUrl}`,
  )
  let stopping: Promise<void> | undefined
  return {
    ...addresses,
    close() {
      stopping ??= stop()
      return stopping
    },
  }
}

function startKafka(host: string, port: number): Promise<StartedTestContainer> {
  return new GenericContainer(serverVersions.kafkaImage)
    .withEnvironment(kafkaEnvironment(host, port))
    .withExposedPorts({ container: inner.broker, host: port })
    .withWaitStrategy(Wait.forLogMessage(/Kafka Server started/))
    .withStartupTimeout(upMsMax)
    .start()
}

function startRedis(): Promise<StartedTestContainer> {
  return new GenericContainer(serverVersions.redisImage)
    .withCommand(['redis-server', '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction'])
    .withExposedPorts(6_379)
    .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
    .withStartupTimeout(upMsMax)
    .start()
}

/** Kafka's settings as its image takes them. */
export function kafkaEnvironment(host: string, port: number): Record<string, string> {
  const settings = {
    'node.id': 1,
    'process.roles': 'broker,controller',
    'controller.quorum.voters': `1@127.0.0.1:${inner.controller}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    listeners: `HOST://:${inner.broker},INTERNAL://127.0.0.1:${inner.own},CONTROLLER://127.0.0.1:${inner.controller}`,
    'advertised.listeners': `HOST://${host}:${port},INTERNAL://127.0.0.1:${inner.own}`,
    'listener.security.protocol.map': 'HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
    ...brokerSettings,
  }
  const entries = Object.entries(settings).map(([setting, value]) => [variableOf(setting), String(value)])
  return { ...Object.fromEntries(entries), KAFKA_HEAP_OPTS: '-Xmx768m' }
}

/** The variable by which Kafka's image takes a setting. */
export function variableOf(setting: string): string {
  return `KAFKA_${setting.toUpperCase().replaceAll('.', '_')}`
}
