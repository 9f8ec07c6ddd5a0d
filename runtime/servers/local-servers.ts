/**
 * Provides a Kafka and a Redis for development and tests: their addresses go out, and what is not given is started;
 * called by `npm start` and tests.
 */

import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { withoutPassword } from '../config/settings.ts'
import { type ComposeService, findDocker, startComposeServers, stopComposeServers } from './docker.ts'
import { choosePorts } from './kept-ports.ts'
import { stopLeftovers, sweepFolder } from './leftovers.ts'
import { startLocalKafka } from './local-kafka.ts'
import { startLocalRedis } from './local-redis.ts'
import type { LocalSetup } from './local-setup.ts'
import { lockFolder } from './lock.ts'
import { recordRunningServers } from './running-servers.ts'
import type { RunningServer } from './start-server.ts'

export interface FindServersOptions {
  /** 'host:port,…'; missing or empty: a local Kafka is started. */
  readonly kafkaBrokers?: string
  /** 'redis://host:port'; missing or empty: a local Redis is started. */
  readonly redisUrl?: string
  /**
   * Not under version control. Holds `cache/` (fetched programs), `servers/` (kept state) and `test-…/` (ephemeral
   * state).
   */
  readonly folder: string
  /**
   * Servers of their own with empty state that is removed on close (tests); otherwise the state is kept for the next
   * start.
   */
  readonly ephemeral?: boolean
  /** `auto`: Docker where it works, else programs of this machine. Ephemeral servers are always programs. */
  readonly servers?: 'auto' | 'docker' | 'local'
  /** Ephemeral servers that run as kept ones do, with Java's full compiler and an append-only file: for measurements. */
  readonly isMeasured?: boolean
  /** Gets one line for each choice and each download. */
  readonly printLine: (line: string) => void
  /** Where PATH, JAVA_HOME and the settings of Maven and pip are looked up; this process's own where it is missing. */
  readonly environment?: NodeJS.ProcessEnv
}

export interface Servers {
  readonly kafkaBrokers: string
  readonly redisUrl: string
  /** Stops what was started here, and only that. Calling it again returns the same promise. */
  close(): Promise<void>
}

/**
 * For each server the first that can be had, in the order of the design: an address that is given, then Docker, then a
 * local server of this machine. Both start in parallel, and the answer comes when both answer. What was started ends
 * with this process, however that ends; a container ends with `close`, or with the next start.
 *
 * Errors: `server_missing` (nothing to start it from, with what to install), `server_failed` (did not come up, with the
 * end of its log; or the kept servers are in use by another process), `port_in_use`.
 */
export async function findServers(options: FindServersOptions): Promise<Servers> {
  const { printLine } = options
  const closers: Closer[] = []
  const close = closeOnce(closers)
  const kafkaGiven = isGiven(options.kafkaBrokers) ? given('Kafka', options.kafkaBrokers, printLine) : undefined
  const redisGiven = isGiven(options.redisUrl) ? given('Redis', options.redisUrl, printLine) : undefined
  if (kafkaGiven !== undefined && redisGiven !== undefined) {
    return { kafkaBrokers: kafkaGiven.address, redisUrl: redisGiven.address, close }
  }
  try {
    const setup = await prepareSetup(options, closers)
    const wanted = { kafka: kafkaGiven, redis: redisGiven }
    const way = options.ephemeral ? 'local' : (options.servers ?? 'auto')
    const docker = way === 'local' ? null : await fromDocker(setup, wanted, closers, way === 'docker')
    const { kafka, redis } =
      docker instanceof Error || docker === null ? await fromPrograms(setup, wanted, closers, docker) : docker
    if (!options.ephemeral) {
      const forget = await recordRunningServers(resolve(options.folder), {
        ...(kafkaGiven === undefined ? { kafkaBrokers: kafka.address } : {}),
        ...(redisGiven === undefined ? { redisUrl: redis.address } : {}),
      })
      closers.push(async () => forget())
    }
    // Last of all; after a failed start the folder stays for its logs, and the next start removes it.
    if (options.ephemeral) closers.unshift(() => rm(setup.folder, { recursive: true }))
    return { kafkaBrokers: kafka.address, redisUrl: redis.address, close }
  } catch (error) {
    await close()
    throw error
  }
}

type Closer = () => Promise<void>

interface Both {
  readonly kafka: RunningServer
  readonly redis: RunningServer
}

/** Those that are given already. */
type Given = { readonly [K in keyof Both]: RunningServer | undefined }

/** What kept Docker from serving is the answer where something else may serve instead. */
async function fromDocker(
  setup: LocalSetup,
  given: Given,
  closers: Closer[],
  isOnlyWay: boolean,
): Promise<Both | PipelineError> {
  const services = (['kafka', 'redis'] as const).filter((service) => given[service] === undefined)
  try {
    setup.printLine(`Docker ${await findDocker(setup.environment)} answers: starting ${services.join(' and ')} in it`)
    await stopComposeServers(setup, services)
    const started = await startComposeServers(setup, services, await choosePorts(setup.folder, setup.printLine))
    closers.push(() => closeServers(started))
    const of = (service: ComposeService) => given[service] ?? started[services.indexOf(service)]!
    return { kafka: of('kafka'), redis: of('redis') }
  } catch (error) {
    if (isOnlyWay || !(error instanceof PipelineError)) throw error
    setup.printLine(`${error.message}\nLooking for programs of this machine instead`)
    return error
  }
}

/** `docker`: why it did not serve. */
async function fromPrograms(
  setup: LocalSetup,
  given: Given,
  closers: Closer[],
  docker: PipelineError | null,
): Promise<Both> {
  const ports = await choosePorts(setup.folder, setup.printLine)
  const started = await Promise.allSettled([
    given.kafka ?? startLocalKafka(setup, ports),
    given.redis ?? startLocalRedis(setup, ports.redis),
  ])
  const running = started.flatMap((server) => (server.status === 'fulfilled' ? [server.value] : []))
  closers.push(() => closeServers(running))
  const [kafka, redis] = started
  if (kafka.status === 'fulfilled' && redis.status === 'fulfilled') return { kafka: kafka.value, redis: redis.value }
  const failures = started.flatMap((server): unknown[] => (server.status === 'rejected' ? [server.reason] : []))
  // Docker would have been enough: it is named beside what else is missing.
  const isMissing = failures.some((failure) => failure instanceof PipelineError && failure.code === 'server_missing')
  throw joinFailures(docker !== null && isMissing ? [...failures, docker] : failures)
}

const isGiven = (address: string | undefined): address is string => address !== undefined && address !== ''

function given(name: string, address: string, printLine: (line: string) => void): RunningServer {
  printLine(`${name} at ${withoutPassword(address)}, as given`)
  return { address, close: async () => undefined }
}

/** Makes the folders, takes the lock of kept ones, and removes what former starts left. */
async function prepareSetup(options: FindServersOptions, closers: Closer[]): Promise<LocalSetup> {
  const { printLine, ephemeral = false, isMeasured = false, environment = process.env } = options
  const root = resolve(options.folder)
  const cacheFolder = join(root, 'cache')
  const folder = join(root, ephemeral ? `test-${process.pid}-${randomUUID().slice(0, 8)}` : 'servers')
  await makeFolders(cacheFolder, folder)
  if (!ephemeral) closers.push(await lockFolder(folder, environment))
  const around = { environment, printLine }
  await sweepFolder(root, around)
  await sweepFolder(cacheFolder, around)
  if (!ephemeral) {
    await stopLeftovers(folder, around)
    await sweepFolder(folder, around)
  }
  return { folder, cacheFolder, ephemeral: ephemeral && !isMeasured, environment, printLine }
}

async function makeFolders(...folders: string[]): Promise<void> {
  for (const folder of folders) {
    try {
      await mkdir(folder, { recursive: true })
    } catch (cause) {
      const sentence = `The folder ${folder} for local servers cannot be made: ${(cause as Error).message}.`
      throw new PipelineError('server_failed', `${sentence} Make it writable, or set KAFKA_BROKERS and REDIS_URL.`, {
        cause,
      })
    }
  }
}

async function closeServers(running: readonly RunningServer[]): Promise<void> {
  const closed = await Promise.allSettled(running.map((server) => server.close()))
  for (const one of closed) if (one.status === 'rejected') throw one.reason
}

/** In reverse order; every step runs, and the first failure is thrown at the end. */
function closeOnce(closers: readonly Closer[]): Closer {
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const closer of closers.toReversed()) {
      await closer().catch((error: unknown) => failures.push(error))
    }
    if (failures.length > 0) throw failures[0]
  }
  return () => {
    closing ??= close()
    return closing
  }
}

/** One error for several failures: the code of the first, the sentences of all. */
function joinFailures(failures: readonly unknown[]): unknown {
  const unexpected = failures.find((failure) => !(failure instanceof PipelineError))
  if (unexpected !== undefined || failures.length === 1) return unexpected ?? failures[0]
  const known = failures as readonly PipelineError[]
  return new PipelineError(known[0]!.code, known.map(({ message }) => message).join('\n'), {
    cause: new AggregateError(known),
    details: Object.assign({}, ...known.map(({ details }) => details).reverse()),
  })
}
