/** The paced jobs: a pipeline at a steady rate, from the scheduled send of an event to the receipt of its prediction. */
import { createShutdown, type Shutdown } from '../cli/shutdown.ts'
import { baselineKafka } from './baseline-kafka.ts'
import type { BenchEnvironment } from './environment.ts'
import { openIsolatedPipeline } from './isolated-pipeline.ts'
import type { Job, JobRun } from './job.ts'
import { type MeasuredRun, maxResidentMb } from './measured-run.ts'
import { cpuSecondsAt } from './middle.ts'
import { type OpenLoop, runOpenLoop } from './open-loop.ts'
import { readOutcome } from './outcome.ts'
import { closeAll } from './run-parts.ts'

export interface PacedOptions {
  /** Without the rate. */
  readonly name: string
  readonly definition: string
  readonly isScored: boolean
  readonly rate: number
  readonly seconds: number
  /** Transactions that are worked off before, so that the windows are not empty. */
  readonly before: number
}

export function pacedJob(environment: BenchEnvironment, options: PacedOptions): Job {
  const name = `${options.name}-${options.rate}`
  const what = `${options.definition}, ${options.isScored ? 'scored, ' : ''}at ${options.rate} events a second`
  const measures = `${what}: scheduled send to receipt of the prediction, read_committed.`
  return {
    measures: { [name]: measures },
    baseline: baselineKafka(options.rate),
    run: async () => [await runPaced(environment, name, options)],
  }
}

async function runPaced(environment: BenchEnvironment, name: string, given: PacedOptions): Promise<JobRun> {
  const { definition, isScored, rate, seconds, before } = given
  return closeAll(createShutdown(), async (shutdown) => {
    const { pipeline, run, ends } = await startAfterBacklog(
      environment,
      { definition, isScored, name, before },
      shutdown,
    )
    const { plan } = pipeline
    const options = { definition, rate, from: before, seconds, ...ends }
    const loop = await run.sampleWhile(runOpenLoop(environment, pipeline, options, shutdown))
    await run.untilPredicted(before + loop.sent)
    await run.stop()
    const { counts } = await readOutcome(environment.broker.data, plan, { events: before + loop.sent, isScored })
    const { late, releasedEarly } = run.counts
    return openLoopRun(name, run, loop, { ...counts, late, releasedEarly })
  })
}

/**
 * A process that has worked off so many transactions, with a model where events are scored. `ends`: where its predictions are, for the
 * open loop.
 */
export async function startAfterBacklog(
  environment: BenchEnvironment,
  { definition, isScored, name, before }: Pick<PacedOptions, 'definition' | 'isScored' | 'name' | 'before'>,
  shutdown: Shutdown,
) {
  const pipeline = await openIsolatedPipeline(environment, definition, name, shutdown)
  const { topic, codec } = pipeline.plan.predictions
  if (isScored) await pipeline.publishModel(environment.model)
  await pipeline.produceFlatOut({ from: 0, count: before })
  const run = await pipeline.startRun()
  await run.untilPredicted(before)
  return { pipeline, run, ends: { topic, idOf: (value: Buffer) => codec.decode(value).id } }
}

export function openLoopRun(
  job: string,
  { usages }: Pick<MeasuredRun, 'usages'>,
  loop: OpenLoop,
  further: JobRun['further'],
): JobRun {
  const cpuSeconds = cpuSecondsAt(usages, loop.untilMs) - cpuSecondsAt(usages, loop.fromMs)
  return {
    job,
    eventsPerSecond: loop.eventsPerSecond,
    eventsPerCpuSecond: (loop.eventsPerSecond * (loop.untilMs - loop.fromMs)) / 1_000 / cpuSeconds,
    latencyMs: loop.latencyMs,
    residentMb: maxResidentMb(usages),
    further: { ...further, sendLagMsP99: loop.sendLagMs.p99, sendLagMsMax: loop.sendLagMs.max },
    invalid: loop.invalid,
  }
}
