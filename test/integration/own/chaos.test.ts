/** A short run of `npm run chaos`: kills, a pause beyond the session and an emptied Redis, and all is as if nothing had happened. */
import { expect, test } from 'vitest'
import { createRandom } from '../../../testing/index.ts'
import { runChaos } from '../../chaos/run-chaos.ts'
import { drawSchedule } from '../../chaos/schedule.ts'

test('two processes under faults leave what an undisturbed run leaves', { timeout: 300_000 }, async () => {
  // Drawn by this seed: two kills around a pause beyond the session and, during it, an emptied Redis. More: `npm run chaos`.
  const options = {
    kills: 2,
    seed: 388,
    mode: 'replay',
    workers: 2,
    partitions: 4,
    rate: 300,
    compiled: false,
  } as const
  const kinds = drawSchedule({ ...options, sessionTimeoutMs: 6_000 }, createRandom(options.seed)).map(
    ({ kind }) => kind,
  )
  expect(kinds).toEqual(['kill', 'pause', 'empty redis', 'kill'])
  const lines: string[] = []
  const report = await runChaos(options, { printLine: (line) => void lines.push(line), environment: process.env })
  expect(report, lines.join('\n')).toMatchObject({
    violations: 0,
    lost: 0,
    doubled: 0,
    differing: 0,
    differingFeatures: 0,
    kills: 2,
    pauses: 1,
    redisEmptied: 1,
  })
  expect(report.predictions).toBeGreaterThan(1_000)
  expect(report.entities).toBeGreaterThan(1_000)
  expect(report.restored).toBeGreaterThan(0)
})
