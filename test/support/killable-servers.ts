/** A Kafka and a Redis to be killed and brought back with what they had on the disk. Opened by tests and by `npm run chaos`. */
import { readFileSync } from 'node:fs'
import { mkdir, readdir, stat, truncate } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { freePort } from '../../runtime/servers/free-port.ts'
import { killGroup } from '../../runtime/servers/guarded-process.ts'
import { startLocalKafka } from '../../runtime/servers/local-kafka.ts'
import { startLocalRedis } from '../../runtime/servers/local-redis.ts'
import type { LocalSetup } from '../../runtime/servers/local-setup.ts'
import type { RunningServer } from '../../runtime/servers/start-server.ts'

export interface KillableServer {
  readonly address: string
  /** kill -9: it flushes nothing and gets no signal handler. */
  kill(): Promise<void>
  /** Starts again on the same port with the same files. */
  restart(): Promise<void>
  close(): Promise<void>
}

export interface KillableRedis extends KillableServer {
  /** While it is down: its append-only file ends so many bytes earlier. Answers how many these were. */
  loseTail(bytes: number): Promise<number>
}

export interface KillableServers {
  readonly kafka: KillableServer
  readonly redis: KillableRedis
}

const cacheFolder = resolve(import.meta.dirname, '../../.millrace/cache')

/** The folder is the caller's, and so is the closing of both. */
export async function startKillableServers(folder: string): Promise<KillableServers> {
  await mkdir(cacheFolder, { recursive: true })
  // Not ephemeral: Redis keeps an append-only file, as in production.
  const setup: LocalSetup = {
    folder,
    cacheFolder,
    ephemeral: false,
    environment: process.env,
    printLine: () => undefined,
  }
  const broker = await freePort(undefined, [])
  const controller = await freePort(undefined, [broker])
  const redisPort = await freePort(undefined, [broker, controller])
  const [kafka, redis] = await Promise.all([
    killable(() => startLocalKafka(setup, { broker, controller }), join(folder, 'kafka.group')),
    killable(() => startLocalRedis(setup, redisPort), join(folder, 'redis.group')),
  ])
  return { kafka, redis: { ...redis, loseTail: (bytes) => loseTail(join(folder, 'redis/appendonlydir'), bytes) } }
}

/** A Redis alone; the folder is the caller's, and so is the closing. */
export async function startOwnRedis(folder: string): Promise<KillableServer> {
  await mkdir(folder, { recursive: true })
  const setup: LocalSetup = {
    folder,
    cacheFolder,
    ephemeral: true,
    environment: process.env,
    printLine: () => undefined,
  }
  const port = await freePort(undefined, [])
  return killable(() => startLocalRedis(setup, port), join(folder, 'redis.group'))
}

async function killable(start: () => Promise<RunningServer>, groupPath: string): Promise<KillableServer> {
  let running = await start()
  return {
    address: running.address,
    async kill() {
      killGroup(Number(readFileSync(groupPath, 'utf8')))
      await running.close()
    },
    async restart() {
      running = await start()
    },
    close: () => running.close(),
  }
}

async function loseTail(folder: string, bytes: number): Promise<number> {
  // Redis begins a further file when it rewrites: the newest holds the tail.
  const numberOf = (name: string) => Number(/\.(\d+)\.incr\.aof$/.exec(name)![1])
  const names = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof'))
  const newest = join(folder, names.sort((a, b) => numberOf(a) - numberOf(b)).at(-1)!)
  const { size } = await stat(newest)
  const left = Math.max(0, size - bytes)
  await truncate(newest, left)
  return size - left
}
