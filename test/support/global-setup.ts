/**
 * Gives the tests of the project `servers` a real Kafka and Redis: those of KAFKA_BROKERS and REDIS_URL, else local
 * ones for this run.
 */

import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { findServers, type Servers } from '../../runtime/servers/local-servers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    kafkaBrokers: string
    redisUrl: string
  }
}

let servers: Servers | undefined

export async function setup(project: TestProject): Promise<void> {
  const { KAFKA_BROKERS: kafkaBrokers, REDIS_URL: redisUrl } = process.env
  servers = await findServers({
    ...(kafkaBrokers ? { kafkaBrokers } : {}),
    ...(redisUrl ? { redisUrl } : {}),
    folder: join(project.config.root, '.millrace'),
    ephemeral: true,
    say: (line) => console.log(line),
  })
  project.provide('kafkaBrokers', servers.kafkaBrokers)
  project.provide('redisUrl', servers.redisUrl)
}

export async function teardown(): Promise<void> {
  await servers?.close()
}
