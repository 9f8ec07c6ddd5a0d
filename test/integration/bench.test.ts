/** `npm run bench` in miniature: it measures what it claims, on correct results, and names what it leaves out; never the speed itself. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, inject, test } from 'vitest'
import type { BenchReport } from '../../bench/report.ts'
import { ownFolder, readJson } from '../support/command.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

test('a backlog of 5,000 events: every figure is there, every event predicted once and as the replay does', {
  timeout: 240_000,
}, async () => {
  const file = join(ownFolder(), 'figures.json')
  const environment = {
    ...process.env,
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_LOG_LEVEL: 'warn',
    MILLRACE_FOLDER: ownFolder(),
  }
  const bench = (...args: string[]) =>
    run('npm', ['run', '-s', 'bench', '--', ...args], { cwd: root, env: environment })
  const against = ['--against', ownFolder()]
  await bench('--jobs', 'card-fraud-backlog,w2', '--runs', '1', '--events', '5000', '--json', file, ...against)

  const report = readJson<BenchReport>(file)
  expect(report).toMatchObject({
    format: 'millrace-bench/1',
    machine: { node: process.versions.node, kafka: 'as given', redis: expect.stringMatching(/^(Redis|Valkey) \d/) },
    seed: 0,
    settings: { rounds: 1, events: 5_000, partitions: 4 },
  })
  expect(report.jobs.map(({ job }) => job)).toEqual([
    'baseline-replay',
    'card-fraud-backlog',
    'w2',
    'kstreams-w2',
    'flink-w2',
  ])
  const backlog = report.jobs[1]!
  expect(backlog).toMatchObject({
    runs: 1,
    invalid: [],
    latencyMs: null,
    further: {
      predictions: once(5_000),
      doubled: once(0),
      rejected: once(0),
      unscored: once(0),
      wrong: once(0),
      late: once(0),
    },
  })
  expect(report.jobs[2]).toMatchObject({
    runs: 1,
    further: { predictions: once(5_000), wrong: once(0), late: once(0) },
  })
  for (const peer of report.jobs.slice(3)) {
    expect(peer).toMatchObject({ runs: 0, eventsPerCpuSecond: null })
    expect(peer.invalid).toEqual([expect.stringMatching(/^round 1: left out: its sources cannot be read: .*jvm/)])
  }
  const { eventsPerSecond, eventsPerCpuSecond, residentMb, ratios, further } = backlog
  const figures = [eventsPerSecond, eventsPerCpuSecond, residentMb, ratios.eventsPerCpuSecond]
  for (const figure of [...figures, further.kafkaBytesPerEvent]) expect(figure!.median).toBeGreaterThan(0)

  const { stdout } = await bench('--table', file)
  expect(stdout).toMatch(/^\| card-fraud-backlog \| 1 \| [\d,.]+ \| [\d,.]+ \|/m)
})

function once(value: number) {
  return { min: value, median: value, max: value }
}
