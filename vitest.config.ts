import { defineConfig } from 'vitest/config'

/** Two projects: `unit` needs no server, no network and no sleep; `servers` runs on a real Kafka and Redis. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/integration/**', 'node_modules/**'],
          testTimeout: 30_000,
        },
      },
    ],
  },
})
