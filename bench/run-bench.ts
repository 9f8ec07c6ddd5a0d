/**
 * Runs the chosen jobs round by round, so that each run has its baseline beside it and a noisy minute does not hit one job alone, and
 * makes the report. Called by `main.ts`.
 */
import { createShutdown, type Shutdown } from '../cli/shutdown.ts'
import { tableLines } from '../cli/terminal.ts'
import { parseConfig } from '../runtime/config/config.ts'
import { backlogJob } from './backlog.ts'
import { kafkaJob } from './baseline-kafka.ts'
import { baselineReplay, replayJob } from './baseline-replay.ts'
import { fineClock } from './clock.ts'
import { atLeastOnce, type BenchEnvironment, cardFraud, type Env, openBenchEnvironment } from './environment.ts'
import { httpReadsJob } from './http-reads.ts'
import type { Job, JobGroup, JobRun } from './job.ts'
import { describeMachine, load, revision } from './machine.ts'
import { modelsJob } from './models.ts'
import { pacedJob } from './paced.ts'
import { peerWorks } from './peers/peer.ts'
import { openPeerJobs } from './peers/peer-job.ts'
import { type BenchReport, jobReports, type Ran, reportFormat } from './report.ts'
import { restartJob } from './restart/restart.ts'
import { closeAll } from './run-parts.ts'
import { circumstances, reportTable } from './table.ts'
import { trainingJob } from './training.ts'

export interface BenchOptions {
  readonly jobs: ReadonlySet<JobGroup>
  readonly runs: number
  /** Transactions of a backlog. */
  readonly events: number
  readonly rates: readonly number[]
  readonly seconds: number
  readonly seed: number
  readonly profile?: string
  /** Folder of peers that run beside ours. */
  readonly against?: string
}

/** Transactions behind the paced and the HTTP jobs; fewer where `events` is less. */
const eventsBeforeMax = 100_000
/** Of the restart job: kills of one run, and events a second, as in the tests with faults on real processes. */
const killsOfRun = 10
const restartRate = 500
/** Whose figures are divided by those of the replay. */
const baselineOf: readonly JobGroup[] = ['baseline', 'card-fraud-backlog', 'at-least-once', 'w1', 'w2', 'http-reads']

export async function runBench(
  options: BenchOptions,
  env: Env,
  printLine: (line: string) => void,
): Promise<BenchReport> {
  const startedAt = new Date(fineClock.nowMs()).toISOString()
  const given = parseConfig(env)
  return closeAll(createShutdown(), async (shutdown) => {
    const { seed, profile: profileFolder = null } = options
    const environment = await openBenchEnvironment(given, env, { seed, profileFolder, printLine }, shutdown)
    const jobs = [
      ...chosenJobs(environment, options),
      ...(await againstJobs(environment, options, printLine, shutdown)),
    ]
    const rounds: Array<Map<string, Ran>> = []
    for (let round = 1; round <= options.runs; round++) rounds.push(await runRound(jobs, round, printLine))
    const report: BenchReport = {
      format: reportFormat,
      machine: await describeMachine(given, environment.redis),
      revision: await revision(env),
      startedAt,
      seed,
      settings: {
        rounds: options.runs,
        events: options.events,
        rates: options.rates,
        seconds: options.seconds,
        partitions: environment.config.partitions,
      },
      jobs: jobReports(jobs, rounds),
    }
    printLine(circumstances(report))
    for (const line of tableLines(reportTable(report))) printLine(line.replaceAll('**', ''))
    for (const { job, invalid } of report.jobs)
      for (const reason of invalid) printLine(`${job}, not counted: ${reason}`)
    return report
  })
}

/** What a backlog job measures of each definition. */
const backlogs = [
  {
    group: 'card-fraud-backlog',
    name: 'card-fraud-backlog',
    measures: 'Two entities, 15 features, scored, exactly once, features in Redis; a backlog, its middle 80 %.',
    definition: cardFraud,
    isScored: true,
  },
  {
    group: 'at-least-once',
    name: 'at-least-once-backlog',
    measures: 'As card-fraud-backlog, at least once: without transactions.',
    definition: atLeastOnce,
    isScored: true,
  },
  {
    group: 'w1',
    name: 'w1',
    measures: 'One entity, 6 features, exactly once, features in Redis; a backlog, its middle 80 %.',
    definition: 'bench/w1.ts',
    isScored: false,
  },
  {
    group: 'w2',
    name: 'w2',
    measures: 'Two entities, 9 features, exactly once, aligned, features in Redis; a backlog, its middle 80 %.',
    definition: 'bench/w2.ts',
    isScored: false,
  },
] as const

const paced = [
  { group: 'card-fraud-paced', name: 'card-fraud-paced', definition: cardFraud, isScored: true },
  { group: 'w1-paced', name: 'w1-paced', definition: 'bench/w1.ts', isScored: false },
  { group: 'at-least-once', name: 'at-least-once-paced', definition: atLeastOnce, isScored: true },
] as const

/** A baseline runs before the jobs that are compared with it, chosen or not. */
function chosenJobs(environment: BenchEnvironment, options: BenchOptions): Job[] {
  const { jobs, events, rates, seconds } = options
  const before = Math.min(events, eventsBeforeMax)
  const has = (group: JobGroup) => jobs.has(group)
  const backlog = { events, baseline: baselineReplay }
  return [
    ...(baselineOf.some(has) ? [replayJob(environment)] : []),
    ...backlogs.filter(({ group }) => has(group)).map((one) => backlogJob(environment, { ...one, ...backlog })),
    ...rates.flatMap((rate) => [
      ...(['baseline' as const, ...paced.map(({ group }) => group)].some(has)
        ? [kafkaJob(environment, { rate, seconds })]
        : []),
      ...paced.filter(({ group }) => has(group)).map((one) => pacedJob(environment, { ...one, rate, seconds, before })),
      ...(has('training') ? [trainingJob(environment, { rate, seconds, before: events })] : []),
    ]),
    ...(has('http-reads') ? [httpReadsJob(environment, { seconds, before })] : []),
    ...(has('models') ? [modelsJob(environment)] : []),
    ...(has('restart') ? [restartJob(environment, { kills: killsOfRun, rate: restartRate, before })] : []),
  ]
}

/** Peers beside those of their jobs that are chosen. */
async function againstJobs(
  environment: BenchEnvironment,
  { against, jobs, events }: BenchOptions,
  printLine: (line: string) => void,
  shutdown: Shutdown,
): Promise<Job[]> {
  if (against === undefined) return []
  const works = peerWorks.filter((work) => jobs.has(work))
  return openPeerJobs(environment, { from: against, works, events, printLine }, shutdown)
}

async function runRound(
  jobs: readonly Job[],
  round: number,
  printLine: (line: string) => void,
): Promise<Map<string, Ran>> {
  const ran = new Map<string, Ran>()
  for (const job of jobs) {
    const loadBefore = load()
    for (const run of await job.run()) {
      ran.set(run.job, { run, loadBefore })
      printLine(`round ${round}, load ${loadBefore.toFixed(2)}: ${run.job} ${figuresText(run)}`)
    }
  }
  return ran
}

function figuresText({ eventsPerSecond, eventsPerCpuSecond, latencyMs, residentMb, further, invalid }: JobRun): string {
  const figures = { eventsPerSecond, eventsPerCpuSecond, ...latencyMs, residentMb, ...further }
  const known = Object.entries(figures).filter(([, value]) => value !== null)
  const listed = known.map(([name, value]) => `${name} ${Number(value!.toPrecision(4))}`).join(', ')
  return invalid === null ? listed : `INVALID (${invalid}): ${listed}`
}
