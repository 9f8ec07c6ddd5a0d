/** The runs of all rounds in, the report out, as `--json` writes it. Pure; called by `run-bench.ts`. */
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Job, JobRun } from './job.ts'
import { type Spread, spread } from './statistics.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly platform: string
  readonly node: string
  readonly kafka: string
  readonly redis: string
}

export interface BenchSettings {
  readonly rounds: number
  readonly events: number
  readonly rates: readonly number[]
  readonly seconds: number
  readonly partitions: number
}

export interface JobReport {
  readonly job: string
  readonly measures: string
  /** Number of valid runs; the reasons of the others are in `invalid`. */
  readonly runs: number
  readonly invalid: readonly string[]
  readonly eventsPerSecond: Spread | null
  readonly eventsPerCpuSecond: Spread | null
  readonly latencyMs: { readonly p50: Spread; readonly p99: Spread; readonly p999: Spread; readonly max: Spread } | null
  readonly residentMb: Spread | null
  /** Relative to the baseline's run of the same round, so that they can be compared across machines and times. */
  readonly ratios: Readonly<Record<string, Spread>>
  readonly further: Readonly<Record<string, Spread>>
  /** Load average of one minute before the run. */
  readonly loadBefore: Spread
}

export interface BenchReport {
  readonly format: typeof reportFormat
  readonly machine: Machine
  /** Of git, with `-dirty` where files were changed; null outside a checkout. */
  readonly revision: string | null
  readonly startedAt: string
  readonly seed: number
  readonly settings: BenchSettings
  readonly jobs: readonly JobReport[]
}

export const reportFormat = 'millrace-bench/1'

/** One run, with the load average of the machine before it. */
export interface Ran {
  readonly run: JobRun
  readonly loadBefore: number
}

/** `rounds`: of each the runs by job name. */
export function jobReports(jobs: readonly Job[], rounds: ReadonlyArray<ReadonlyMap<string, Ran>>): JobReport[] {
  return jobs.flatMap((job) =>
    Object.entries(job.measures).map(([name, measures]) => jobReport(name, measures, job.baseline, rounds)),
  )
}

function jobReport(
  name: string,
  measures: string,
  baseline: string | null,
  rounds: ReadonlyArray<ReadonlyMap<string, Ran>>,
): JobReport {
  const all = rounds.map((round) => round.get(name)!)
  const counted = rounds.filter((round) => round.get(name)!.run.invalid === null)
  const runs = counted.map((round) => round.get(name)!.run)
  const paired = counted.map((round) => ({ run: round.get(name)!.run, base: baseline && round.get(baseline)?.run }))
  const ratios = paired.flatMap(({ run, base }) => (base && base.invalid === null ? [ratiosOf(run, base)] : []))
  return {
    job: name,
    measures,
    runs: runs.length,
    invalid: all.flatMap(({ run }, round) => (run.invalid === null ? [] : [`round ${round + 1}: ${run.invalid}`])),
    eventsPerSecond: spreadOf(runs.map((run) => run.eventsPerSecond)),
    eventsPerCpuSecond: spreadOf(runs.map((run) => run.eventsPerCpuSecond)),
    latencyMs: latencySpread(runs),
    residentMb: spreadOf(runs.map((run) => run.residentMb)),
    ratios: spreads(ratios),
    further: spreads(runs.map(({ further }) => further)),
    loadBefore: spread(all.map(({ loadBefore }) => loadBefore)),
  }
}

function ratiosOf(run: JobRun, base: JobRun): Record<string, number> {
  const pairs: Array<[string, number | undefined | null, number | undefined | null]> = [
    ['eventsPerCpuSecond', run.eventsPerCpuSecond, base.eventsPerCpuSecond],
    ['p50', run.latencyMs?.p50, base.latencyMs?.p50],
    ['p99', run.latencyMs?.p99, base.latencyMs?.p99],
  ]
  return Object.fromEntries(pairs.flatMap(([name, own, theirs]) => (own && theirs ? [[name, own / theirs]] : [])))
}

function latencySpread(runs: readonly JobRun[]): JobReport['latencyMs'] {
  const latencies = runs.flatMap(({ latencyMs }) => latencyMs ?? [])
  if (latencies.length === 0) return null
  const of = (name: 'p50' | 'p99' | 'p999' | 'max') => spread(latencies.map((latency) => latency[name]))
  return { p50: of('p50'), p99: of('p99'), p999: of('p999'), max: of('max') }
}

function spreadOf(values: ReadonlyArray<number | null>): Spread | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : spread(known)
}

function spreads(all: ReadonlyArray<Readonly<Record<string, number>>>): Record<string, Spread> {
  const names = [...new Set(all.flatMap(Object.keys))]
  return Object.fromEntries(names.map((name) => [name, spread(all.flatMap((one) => one[name] ?? []))]))
}

/** `sourceName`: for messages. Throws `input_unreadable` for anything but a report of this version's format. */
export function parseReport(text: string, sourceName: string): BenchReport {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new PipelineError('input_unreadable', `${sourceName} is no report of the bench: it is not JSON.`, { cause })
  }
  const format = (value as { format?: unknown } | null)?.format
  if (format === reportFormat) return value as BenchReport
  const received = format === undefined ? 'none' : JSON.stringify(format)
  throw new PipelineError(
    'input_unreadable',
    `${sourceName} is no report of the bench: expected format "${reportFormat}", received ${received}.`,
  )
}
