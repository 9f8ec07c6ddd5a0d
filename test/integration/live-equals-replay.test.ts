/** The promise of the house on real servers: what live computed is what the replay computes, every vector, bit for bit. */
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import type { VerifyFigures } from '../../cli/proof/verify.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { drawn } from '../support/nightly.ts'

const servers = { KAFKA_BROKERS: inject('kafkaBrokers'), REDIS_URL: inject('redisUrl'), MILLRACE_HTTP_PORT: '0' }

/** Days of the benchmark that are paced in event time. Windows reach back 37 days. */
const pacedDays = drawn({ always: 46, nightly: 62 })

test(`${pacedDays} days, paced in event time: no vector differs`, { timeout: 600_000 }, async () => {
  const file = join(ownFolder(), 'verify.json')
  const command = startCommand(
    ['verify', 'pipelines/card-fraud.ts', '--until', dayOf(pacedDays), '--speed', '120000', '--json', file],
    servers,
  )
  expect(await command.exitCode, command.output()).toBe(0)
  const figures = readJson<VerifyFigures>(file)
  expect(figures).toMatchObject({ differing: 0, missing: 0, doubled: 0, rejected: 0, duplicates: 0 })
  expect(figures.compared).toBe(figures.events)
  // The benchmark has 9,592 transactions a day.
  expect(figures.events).toBeGreaterThan(9_500 * pacedDays)
})

/** The first day of the benchmark is 2018-04-01. */
function dayOf(days: number): string {
  return new Date(Date.UTC(2018, 3, 1 + days)).toISOString().slice(0, 10)
}

/** The whole benchmark with CATCH_UP_UNTIL=2018-10-01: at full speed, producer and two processes over four partitions. */
test('a backlog at full speed through two processes: no event is late, no vector differs', {
  timeout: 3_600_000,
}, async () => {
  const file = join(ownFolder(), 'verify.json')
  const until = process.env.CATCH_UP_UNTIL ?? '2018-04-12'
  const command = startCommand(
    ['verify', 'pipelines/card-fraud.ts', '--until', until, '--processes', '2', '--json', file],
    servers,
  )
  expect(await command.exitCode, command.output()).toBe(0)
  const figures = readJson<VerifyFigures>(file)
  const none = { differing: 0, missing: 0, doubled: 0, late: 0, releasedEarly: 0, rejected: 0, duplicates: 0 }
  expect(figures).toMatchObject(none)
  expect(figures.compared).toBe(figures.events)
  expect(figures.events).toBeGreaterThan(100_000)
})
