/** Starts a local Redis or Valkey server; called by `local-servers.ts`. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { LocalSetup } from './local-setup.ts'
import { findRedisBinary } from './redis-binary.ts'
import { type RunningServer, startServer } from './start-server.ts'

/** Long, because a kept append-only file is read before the first answer. */
const upMsMax = 60_000
const stopGraceMs = 10_000

/**
 * `added`: further lines of the settings file; tests switch on TLS and ACLs with them. Errors: `server_missing`,
 * `server_failed`, `port_in_use`.
 */
export async function startLocalRedis(
  setup: LocalSetup,
  port: number,
  added: readonly string[] = [],
): Promise<RunningServer> {
  const { folder, environment, printLine } = setup
  const binary = await findRedisBinary(setup.cacheFolder, environment, printLine)
  const cwd = join(folder, 'redis')
  await mkdir(cwd, { recursive: true })
  const settings = join(folder, 'redis.conf')
  await writeFile(settings, redisSettings(port, setup.ephemeral, added))
  const address = `redis://127.0.0.1:${port}`
  const logPath = join(folder, 'redis.log')
  const running = await startServer({
    name: binary.name,
    address,
    file: binary.file,
    args: [settings],
    cwd,
    environment,
    logPath,
    groupPath: join(folder, 'redis.group'),
    stopGraceMs,
    upMsMax,
    probe: () => askRedis(port),
    printLine,
  })
  printLine(`${binary.name} (${binary.file}) at ${address}, log ${logPath}`)
  return running
}

/** The settings file; the server keeps its files in the folder that it is started in. */
export function redisSettings(port: number, ephemeral: boolean, added: readonly string[] = []): string {
  const settings = [
    'bind 127.0.0.1',
    `port ${port}`,
    'dir ./',
    'save ""',
    `appendonly ${ephemeral ? 'no' : 'yes'}`,
    'appendfsync everysec',
    'maxmemory-policy noeviction',
    // Its command line then still names this settings file, by which a left-over server is known (see leftovers.ts).
    'set-proc-title no',
    ...added,
  ]
  return settings.map((line) => `${line}\n`).join('')
}

/** Resolves when the server answers PING; while it still reads its files it answers with an error. */
async function askRedis(port: number): Promise<void> {
  const redis = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    connectTimeout: 2_000,
    commandTimeout: 5_000,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  })
  let socketError: Error | undefined
  // Without a listener ioredis prints it; connect() says only that the connection closed.
  redis.on('error', (error: Error) => {
    socketError = error
  })
  try {
    await redis.connect()
    await redis.ping()
  } catch (error) {
    throw socketError ?? error
  } finally {
    redis.disconnect()
  }
}
