/**
 * Gives the tests of the project `servers` a real Kafka and Redis: those of KAFKA_BROKERS and REDIS_URL, else containers where Docker's
 * engine answers, else local ones for this run.
 */

import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { findServers, type Servers } from '../../runtime/servers/local-servers.ts'
import { containerHost, startContainers } from './containers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    kafkaBrokers: string
    redisUrl: string
  }
}

let servers: Servers | undefined
const printLine = (line: string) => console.log(line)

export async function setup(project: TestProject): Promise<void> {
  servers = await serversFor(join(project.config.root, '.millrace'))
  project.provide('kafkaBrokers', servers.kafkaBrokers)
  project.provide('redisUrl', servers.redisUrl)
}

export async function teardown(): Promise<void> {
  await servers?.close()
}

/** Where only one of the two is given, the other is a local program. */
async function serversFor(folder: string): Promise<Servers> {
  const { KAFKA_BROKERS: kafkaBrokers, REDIS_URL: redisUrl } = process.env
  const host = kafkaBrokers || redisUrl ? null : await containerHost()
  if (host !== null) {
    try {
      return await startContainers(host, printLine)
    } catch (error) {
      printLine(`Docker's engine answers, but has no servers for these tests: ${error}. Starting local ones.`)
    }
  }
  return await findServers({
    ...(kafkaBrokers ? { kafkaBrokers } : {}),
    ...(redisUrl ? { redisUrl } : {}),
    folder,
    ephemeral: true,
    printLine,
  })
}
