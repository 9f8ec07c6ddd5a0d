/** A Kafka and a Redis of one test's own, on their own ports, which it may kill and bring back with what they had on the disk. */
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { onTestFinished } from 'vitest'
import { freePort } from '../../runtime/servers/free-port.ts'
import { killGroup } from '../../runtime/servers/guarded-process.ts'
import { startLocalKafka } from '../../runtime/servers/local-kafka.ts'
import type { LocalPlace } from '../../runtime/servers/local-place.ts'
import { startLocalRedis } from '../../runtime/servers/local-redis.ts'
import type { RunningServer } from '../../runtime/servers/start-server.ts'
import { ownFolder } from './command.ts'

export interface OwnServer {
  readonly address: string
  /** kill -9: it flushes and tells nothing. */
  kill(): Promise<void>
  /** Starts again on the same port with the same files. */
  restart(): Promise<void>
}

const cacheFolder = resolve(import.meta.dirname, '../../.millrace/cache')

/** Closed with the test. */
export async function ownServers(): Promise<{ readonly kafka: OwnServer; readonly redis: OwnServer }> {
  await mkdir(cacheFolder, { recursive: true })
  // Not ephemeral: Redis keeps an append-only file, as in production.
  const place: LocalPlace = {
    folder: ownFolder(),
    cacheFolder,
    ephemeral: false,
    environment: process.env,
    say: () => undefined,
  }
  const broker = await freePort(undefined, [])
  const controller = await freePort(undefined, [broker])
  const redisPort = await freePort(undefined, [broker, controller])
  const [kafka, redis] = await Promise.all([
    own(() => startLocalKafka(place, { broker, controller }), join(place.folder, 'kafka.group')),
    own(() => startLocalRedis(place, redisPort), join(place.folder, 'redis.group')),
  ])
  return { kafka, redis }
}

async function own(start: () => Promise<RunningServer>, groupPath: string): Promise<OwnServer> {
  let running = await start()
  onTestFinished(() => running.close())
  return {
    address: running.address,
    async kill() {
      killGroup(Number(readFileSync(groupPath, 'utf8')))
      await running.close()
    },
    async restart() {
      running = await start()
    },
  }
}
