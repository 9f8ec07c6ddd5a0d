import { spawnSync } from 'node:child_process'
import { defineConfig } from 'vitest/config'

/**
 * `unit` needs no server, no network and no sleep; `golden` proves the features on the whole benchmark; `embedded` starts the command where
 * there is nothing but Node; `servers` and `alone` run on a real Kafka and Redis, found or started by their global set-up, `own-servers` on
 * some of its own. Where none can be had all three are left out, loudly, and with CI=true they fail.
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

/** Not beside others: they ask which ports are free, set Redis's memory and policy, or wait for how soon another process takes over. */
const alone = ['doctor', 'local-servers', 'rebalance', 'redis-store', 'stop'].map(
  (name) => `test/integration/${name}.test.ts`,
)

/** Each in a namespace of its own, so that two files go side by side; after all that only computes. */
const servers = {
  test: {
    name: 'servers',
    include: ['test/integration/*.test.ts'],
    exclude: alone,
    globalSetup: ['test/support/global-setup.ts'],
    sequence: { groupOrder: 1 },
    ...timeouts,
  },
}

/** Each starts servers of its own, mostly to stop them and wait. */
const ownServers = {
  test: {
    name: 'own-servers',
    include: ['test/integration/own/*.test.ts'],
    sequence: { groupOrder: 1 },
    ...timeouts,
  },
}

const aloneOnServers = {
  test: {
    name: 'alone',
    include: alone,
    globalSetup: ['test/support/global-setup.ts'],
    fileParallelism: false,
    sequence: { groupOrder: 2 },
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
      ...(hasServers ? [servers, ownServers, aloneOnServers] : []),
    ],
  },
})
