/**
 * The restart job: one of two processes is killed with kill -9 again and again under a steady load, and started again at once under its
 * name. From the spawn to the first new prediction of the tasks that it had. The processes run what `npm run build` makes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { sharedNames } from '../../cli/context.ts'
import { createShutdown, type Shutdown } from '../../cli/shutdown.ts'
import { packageFolder } from '../../runtime/package-folder.ts'
import { runCommand } from '../../runtime/servers/command.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type BenchEnvironment, cardFraud } from '../environment.ts'
import { type IsolatedPipeline, openIsolatedPipeline } from '../isolated-pipeline.ts'
import type { Job, JobRun } from '../job.ts'
import { readOutcome } from '../outcome.ts'
import { closeAll } from '../run-parts.ts'
import { latencyOf, spread } from '../statistics.ts'
import { createKillableProcess, type KillableProcess } from './killable-process.ts'
import { type PredictionWatch, watchPredictions } from './prediction-watch.ts'

export interface RestartOptions {
  /** In one run. */
  readonly kills: number
  /** Events a second. */
  readonly rate: number
  /** Transactions that are worked off before, so that there is state to take up. */
  readonly before: number
}

const name = 'restart'
const workers = ['bench-1', 'bench-2']
/** Below `.millrace`: built for the run, so that it is never an earlier revision. */
const buildName = 'bench-restart'
const buildMaxMs = 120_000
const readyMaxMs = 60_000
const firstPredictionMaxMs = 60_000
/** After all are ready, so that a kill meets ordinary work. */
const calmMs = 1_000

export function restartJob(environment: BenchEnvironment, options: RestartOptions): Job {
  const measures =
    `${cardFraud}, scored, two compiled processes at ${options.rate} events a second, one of them killed with kill -9 and started again: ` +
    'spawn to receipt of the first new prediction of its tasks, read_committed.'
  let built: Promise<string> | null = null
  return {
    measures: { [name]: measures },
    baseline: null,
    async run() {
      built ??= build(environment)
      return [await runRestarts(environment, options, await built)]
    },
  }
}

/** Resolves with the folder, below the package. */
async function build({ env }: BenchEnvironment): Promise<string> {
  const args = ['--import', 'tsx', 'cli/build.ts', buildName]
  const built = await runCommand(process.execPath, args, {
    environment: { ...env },
    timeoutMs: buildMaxMs,
    cwd: packageFolder,
  })
  if (built.missing || built.exitCode !== 0)
    throw new PipelineError('server_failed', `npm run build failed: ${built.missing ? 'no Node' : built.output}`)
  return `.millrace/${buildName}`
}

async function runRestarts(
  environment: BenchEnvironment,
  { kills, rate, before }: RestartOptions,
  compiled: string,
): Promise<JobRun> {
  const { broker, config } = environment
  return closeAll(createShutdown(), async (shutdown) => {
    const pipeline = await openIsolatedPipeline(environment, cardFraud, name, shutdown)
    await pipeline.publishModel(environment.model)
    await pipeline.produceFlatOut({ from: 0, count: before })
    const processes = startProcesses(environment, pipeline, compiled, shutdown)
    const watch = watchPredictions(broker.data, pipeline.plan, config.partitions)
    shutdown.add('watched predictions', watch.close)
    await untilAll(() => watch.count >= before, `${before} predictions`)

    const stopping = new AbortController()
    const sending = pipeline.producePaced({ from: before, count: Number.POSITIVE_INFINITY }, rate, stopping.signal)
    // While it sends, only its failure counts: a wait in vain for predictions would hide it.
    const failed = sending.then(() => new Promise<never>(() => undefined))
    shutdown.add('load', async () => stopping.abort())
    const parts = { processes, watch, environment, pipeline }
    const restartMs: number[] = []
    for (let kill = 0; kill < kills; kill++) {
      restartMs.push(await Promise.race([timedKill(parts, kill % processes.length), failed]))
    }
    stopping.abort()
    const { byStream } = await sending
    const events = before + byStream[pipeline.plan.scored.name]!
    await untilAll(() => watch.count >= events, `${events} predictions`)
    await Promise.all(processes.map((one) => one.poll()))
    await Promise.all(processes.map((one) => one.stop()))
    const { counts } = await readOutcome(broker.data, pipeline.plan, { events, isScored: true })
    const restart = spread(restartMs)
    return {
      job: name,
      eventsPerSecond: null,
      eventsPerCpuSecond: null,
      latencyMs: latencyOf(restartMs),
      residentMb: null,
      further: {
        ...counts,
        kills,
        restartMsMin: restart.min,
        restartMsMedian: restart.median,
        restartMsMax: restart.max,
      },
      invalid: null,
    }
  })
}

function startProcesses(
  { config, env }: BenchEnvironment,
  { namespace }: IsolatedPipeline,
  compiled: string,
  shutdown: Shutdown,
): KillableProcess[] {
  const environment = {
    ...env,
    MILLRACE_LOG_LEVEL: 'warn',
    KAFKA_BROKERS: config.kafkaBrokers.join(','),
    REDIS_URL: config.redisUrl!,
    MILLRACE_NAMESPACE: namespace,
  }
  const processes = workers.map((worker) => createKillableProcess(worker, environment, { compiled, logsFolder: null }))
  shutdown.add('processes', () => Promise.all(processes.map((one) => (one.isRunning() ? one.kill() : null))))
  for (const one of processes) one.start()
  return processes
}

interface KillParts {
  readonly processes: readonly KillableProcess[]
  readonly watch: PredictionWatch
  readonly environment: BenchEnvironment
  readonly pipeline: IsolatedPipeline
}

/** Resolves with the milliseconds from the spawn to the first new prediction. */
async function timedKill({ processes, watch, environment, pipeline }: KillParts, number: number): Promise<number> {
  const { plan, namespace } = pipeline
  const allReady = async () => (await Promise.all(processes.map((one) => one.isReady()))).every(Boolean)
  await untilAll(allReady, 'both processes to be ready')
  await sleep(calmMs)
  const one = processes[number]!
  const { group } = sharedNames({ namespace }, plan)
  const { members } = await environment.broker.groups.describe(group)
  const lastStage = plan.stages.at(-1)!.entity.name
  const own = members.find(({ worker }) => worker === one.name)?.tasks ?? []
  const tasks = own.filter(({ stage }) => stage === lastStage)
  if (tasks.length === 0) throw new PipelineError('server_failed', `${one.name} has no task of ${lastStage}.`)
  await one.kill()
  const startedMs = one.start()
  const firstMs = await watch.firstOf(tasks, startedMs, firstPredictionMaxMs)
  if (firstMs !== null) return firstMs - startedMs
  throw new PipelineError('server_failed', `${one.name} made no prediction within ${firstPredictionMaxMs / 1_000} s.`)
}

async function untilAll(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const beganMs = performance.now(); !(await holds()); await sleep(50)) {
    if (performance.now() - beganMs > readyMaxMs)
      throw new PipelineError('server_failed', `Waited ${readyMaxMs / 1_000} s in vain for ${what}.`)
  }
}
