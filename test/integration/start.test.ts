/** `millrace start` as a newcomer runs it, on fewer days and events. */
import { join } from 'node:path'
import { expect, inject, test } from 'vitest'
import type { StartFigures } from '../../cli/start/start.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'

test('warms up, trains, scores paced events and ends by itself; then resumes', { timeout: 400_000 }, async () => {
  const folder = ownFolder()
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_FOLDER: folder,
  }
  const file = join(folder, 'figures.json')
  const paced = ['--events', '2000', '--rate', '1000', '--json', file]
  const first = startCommand(['start', '--days', '15', ...paced], environment)
  expect(await first.exitCode, first.output()).toBe(0)
  expect(first.output()).toContain('Model v1 is the champion now, the first one.')
  expect(first.output()).toMatch(/event \d+: 15 features, score 0\.\d{4} by v1/)
  expectWhole(readJson<StartFigures>(file))

  const second = startCommand(['start', '--resume', ...paced], environment)
  expect(await second.exitCode, second.output()).toBe(0)
  expect(second.output()).toContain('continues in namespace')
  expect(second.output()).not.toContain('Warm-up')
  expectWhole(readJson<StartFigures>(file))
})

/** Every event that was sent came back once, and was measured. */
function expectWhole(figures: StartFigures): void {
  expect(figures.events).toBeGreaterThanOrEqual(2_000)
  expect(figures).toMatchObject({ predictions: figures.events, rejected: 0 })
  expect(figures.eventsPerSecond).toBeGreaterThan(0)
  const { p50, p99, p999 } = figures.latencyMs!
  expect(p50).toBeGreaterThan(0)
  expect(p99).toBeGreaterThanOrEqual(p50)
  expect(p999).toBeGreaterThanOrEqual(p99)
}
