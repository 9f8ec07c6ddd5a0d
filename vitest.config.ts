import { spawnSync } from 'node:child_process'
import { defineConfig } from 'vitest/config'

/**
 * `unit` needs no server, no network and no sleep; `golden` proves the features on the whole benchmark; `embedded` starts the command where
 * there is nothing but Node; `servers` runs on a real Kafka and Redis, found or started by its global set-up, `own-servers` on some of its
 * own. Where none can be had both are left out, loudly, and with CI=true they fail.
 */
const { CI, KAFKA_BROKERS, REDIS_URL } = process.env
const answers = (command: string, argument: string) => spawnSync(command, [argument]).status === 0
const hasContainers = async () => (await (await import('./test/support/containers.ts')).containerHost()) !== null
const hasServers =
  CI === 'true' ||
  (Boolean(KAFKA_BROKERS) && Boolean(REDIS_URL)) ||
  (answers('java', '-version') && answers('mvn', '--version')) ||
  (await hasContainers())
if (!hasServers) {
  console.log(
    'LEFT OUT: test/integration, which needs KAFKA_BROKERS and REDIS_URL, or Docker, or Java 17 and Maven on this machine.',
  )
}

const timeouts = { testTimeout: 120_000, hookTimeout: 120_000 }

const servers = {
  test: {
    name: 'servers',
    include: ['test/integration/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    fileParallelism: false,
    ...timeouts,
  },
}

/** Each starts servers of its own, mostly to stop them and wait, so that two can go side by side; after all that only computes. */
const ownServers = {
  test: {
    name: 'own-servers',
    include: ['test/integration/own/*.test.ts'],
    sequence: { groupOrder: 1 },
    ...timeouts,
  },
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'test/golden/**', 'test/embedded/**', 'node_modules/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // No test leaves anything behind in a module, so that files can share a thread: a third of the time.
          pool: 'threads',
          isolate: false,
        },
      },
      { test: { name: 'golden', include: ['test/golden/**/*.test.ts'] } },
      { test: { name: 'embedded', include: ['test/embedded/**/*.test.ts'] } },
      ...(hasServers ? [servers, ownServers] : []),
    ],
  },
})
