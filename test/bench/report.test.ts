import { describe, expect, test } from 'vitest'
import type { Job, JobRun } from '../../bench/job.ts'
import { type BenchReport, jobReports, parseReport, type Ran, reportFormat } from '../../bench/report.ts'
import type { Spread } from '../../bench/statistics.ts'
import { comparisonTable, reportMarkdown } from '../../bench/table.ts'

const job = (measures: Job['measures'], baseline: string | null): Job => ({ measures, baseline, run: async () => [] })
const jobs = [job({ floor: 'The floor.' }, null), job({ paced: 'The paced one.', other: 'Its twin.' }, 'floor')]
const latency = (p50: number) => ({ p50, p99: p50 * 2, p999: p50 * 3, max: p50 * 4 })
const ran = (run: Partial<JobRun> & Pick<JobRun, 'job'>, loadBefore = 1): [string, Ran] => {
  const figures = { eventsPerSecond: null, eventsPerCpuSecond: null, latencyMs: null, residentMb: null, further: {} }
  return [run.job, { run: { ...figures, invalid: null, ...run }, loadBefore }]
}

describe('a report', () => {
  test('has smallest, median and greatest of every figure, and ratios against the baseline of the same round', () => {
    const rounds = [
      [10, 40, 300],
      [20, 60, 100],
      [40, 80, 200],
    ].map(
      ([floor, paced, resident], round) =>
        new Map([
          ran({ job: 'floor', latencyMs: latency(floor!) }, round),
          ran({ job: 'paced', latencyMs: latency(paced!), residentMb: resident!, further: { late: round } }),
          ran({ job: 'other', eventsPerSecond: 5 }),
        ]),
    )
    const [floor, paced, other] = jobReports(jobs, rounds)
    expect(floor).toEqual({
      job: 'floor',
      measures: 'The floor.',
      runs: 3,
      invalid: [],
      eventsPerSecond: null,
      eventsPerCpuSecond: null,
      latencyMs: {
        p50: { min: 10, median: 20, max: 40 },
        p99: { min: 20, median: 40, max: 80 },
        p999: { min: 30, median: 60, max: 120 },
        max: { min: 40, median: 80, max: 160 },
      },
      residentMb: null,
      ratios: {},
      further: {},
      loadBefore: { min: 0, median: 1, max: 2 },
    })
    expect(paced).toMatchObject({
      residentMb: { min: 100, median: 200, max: 300 },
      ratios: { p50: { min: 2, median: 3, max: 4 }, p99: { min: 2, median: 3, max: 4 } },
      further: { late: { min: 0, median: 1, max: 2 } },
    })
    expect(other).toMatchObject({ eventsPerSecond: { min: 5, median: 5, max: 5 }, latencyMs: null, ratios: {} })
  })

  test('counts no invalid run, reports why, and compares with no invalid baseline', () => {
    const late = 'the load generator was late'
    const rounds = [
      new Map([
        ran({ job: 'floor', latencyMs: latency(1), invalid: late }),
        ran({ job: 'paced', latencyMs: latency(5) }),
        ran({ job: 'other' }),
      ]),
      new Map([
        ran({ job: 'floor', latencyMs: latency(2) }),
        ran({ job: 'paced', latencyMs: latency(900), invalid: late }),
        ran({ job: 'other' }),
      ]),
    ]
    const [floor, paced] = jobReports(jobs, rounds)
    expect(floor).toMatchObject({ runs: 1, invalid: [`round 1: ${late}`], latencyMs: { p50: { min: 2, max: 2 } } })
    expect(paced).toMatchObject({ runs: 1, invalid: [`round 2: ${late}`], latencyMs: { p50: { max: 5 } }, ratios: {} })
  })

  test('is read back; anything else is rejected with what was expected', () => {
    expect(parseReport(JSON.stringify(report()), 'figures.json')).toEqual(report())
    expect(() => parseReport('no', 'figures.json')).toThrow('figures.json is no report of the bench: it is not JSON.')
    expect(() => parseReport('{"format":"other/1"}', 'figures.json')).toThrow(
      'figures.json is no report of the bench: expected format "millrace-bench/1", received "other/1".',
    )
    expect(() => parseReport('null', 'figures.json')).toThrow('received none')
  })
})

test('the table of a report', () => {
  expect(reportMarkdown(report())).toBe(
    [
      '2026-01-02T03:04:05.000Z, revision abc: 2 cores of a processor, 24 GB, linux x64, Node 20.0.0, Kafka 4.1.0, Redis 7.0.15, ' +
        'all on this machine with the load generator; seed 0, 2 rounds, 5,000 events, 4 partitions, 20 s a paced run. ' +
        'Figures are min / **median** / max.',
      '',
      '| job | runs | events/s | events/CPU-s | p50 ms | p99 ms | p99.9 ms | resident MB | against its baseline | load before |',
      '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
      '| floor | 2 |  |  | 1 / **1.50** / 2 | 2 / **3** / 4 | 3 / **4.50** / 6 |  |  | 1 |',
      '| paced | 1, 1 invalid |  | 12,346 | 5 | 10 | 15 | 123 | p50 × 5, p99 × 5 | 1 |',
      '| other | 2 | 0.250 |  |  |  |  |  |  | 1 |',
      '',
      '- `floor`: The floor.',
      '- `paced`: The paced one. Also: late 3. Not counted: round 2: it was late.',
      '- `other`: Its twin.',
      '',
    ].join('\n'),
  )
})

test('medians over those of an earlier report, for the jobs that both have', () => {
  const twice = report()
  const [floor, paced] = twice.jobs
  const half = (figure: Spread) => ({ ...figure, median: figure.median / 2 })
  const latencyMs = { ...floor!.latencyMs!, p50: half(floor!.latencyMs!.p50) }
  const earlier = {
    ...twice,
    jobs: [
      { ...floor!, latencyMs },
      { ...paced!, residentMb: null },
    ],
  }
  expect(comparisonTable(twice, earlier)).toEqual([
    ['job', 'events/s', 'events/CPU-s', 'p50', 'p99', 'resident', 'baseline ratios'],
    ['floor', '', '', '× 2', '× 1', '', ''],
    ['paced', '', '× 1', '× 1', '× 1', '', 'p50 × 1, p99 × 1'],
  ])
})

function report(): BenchReport {
  const rounds = [
    new Map([
      ran({ job: 'floor', latencyMs: latency(1) }),
      ran({
        job: 'paced',
        latencyMs: latency(5),
        eventsPerCpuSecond: 12_345.6,
        residentMb: 123.4,
        further: { late: 3 },
      }),
      ran({ job: 'other', eventsPerSecond: 0.25 }),
    ]),
    new Map([
      ran({ job: 'floor', latencyMs: latency(2) }),
      ran({ job: 'paced', invalid: 'it was late' }),
      ran({ job: 'other', eventsPerSecond: 0.25 }),
    ]),
  ]
  return {
    format: reportFormat,
    machine: {
      cpu: 'a processor',
      cores: 2,
      memoryGb: 24,
      platform: 'linux x64',
      node: '20.0.0',
      kafka: '4.1.0',
      redis: 'Redis 7.0.15',
    },
    revision: 'abc',
    startedAt: '2026-01-02T03:04:05.000Z',
    seed: 0,
    settings: { rounds: 2, events: 5_000, rates: [500], seconds: 20, partitions: 4 },
    jobs: jobReports(jobs, rounds),
  }
}
