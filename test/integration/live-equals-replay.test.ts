/** The promise of the house on real servers: what live computed is what the replay computes, every vector, bit for bit. */
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import type { VerifyFigures } from '../../cli/proof/verify.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'

const servers = { KAFKA_BROKERS: inject('kafkaBrokers'), REDIS_URL: inject('redisUrl'), MILLRACE_HTTP_PORT: '0' }

/** Paced in event time: 62 days at 80,000 event seconds a second, of which the last 22 have full 30-day windows behind them. */
test('200,000 events after day 40, paced in event time: no vector differs', { timeout: 600_000 }, async () => {
  const file = join(ownFolder(), 'verify.json')
  const command = startCommand(
    ['verify', 'pipelines/card-fraud.ts', '--until', '2018-06-02', '--speed', '80000', '--json', file],
    servers,
  )
  expect(await command.exitCode, command.output()).toBe(0)
  const figures = readJson<VerifyFigures>(file)
  expect(figures).toMatchObject({ differing: 0, missing: 0, doubled: 0, rejected: 0, duplicates: 0 })
  expect(figures.compared).toBe(figures.events)
  expect(figures.events).toBe(594_735)
})

/** The whole benchmark with CATCH_UP_UNTIL=2018-10-01: as fast as they can, producer and two processes over four partitions. */
test('a backlog, flat out through two processes: no event is late, no vector differs', {
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
