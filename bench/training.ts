/**
 * What training costs the scoring process: the paced job twice with the same process, first while a trainer retrains without a pause on the
 * same machine, then after it has stopped. In this order, so that a process that speeds up with time does not flatter the trainer.
 */
import { createShutdown } from '../cli/shutdown.ts'
import { type BenchEnvironment, cardFraud } from './environment.ts'
import type { Job, JobRun } from './job.ts'
import type { MeasuredRun } from './measured-run.ts'
import type { Usage } from './middle.ts'
import { type OpenLoop, runOpenLoop } from './open-loop.ts'
import { readOutcome } from './outcome.ts'
import { openLoopRun, startAfterBacklog } from './paced.ts'
import { closeAll } from './run-parts.ts'
import { startTrainer } from './trainer-process.ts'

export interface TrainingOptions {
  readonly rate: number
  readonly seconds: number
  /** Transactions that are processed and read by the trainer before; those of the last week have no mature label. */
  readonly before: number
}

/** Smallest share of the samples of a valid run in which the trainer was training. */
const trainingShareMin = 0.5
/** More than the time between two samples of the process. */
const aroundMs = 3_000

export function trainingJob(environment: BenchEnvironment, options: TrainingOptions): Job {
  const [off, on] = [`trainer-off-${options.rate}`, `trainer-on-${options.rate}`]
  return {
    measures: {
      [on]: `card-fraud, scored, at ${options.rate} events a second, while a trainer beside it trains one version after the other.`,
      [off]: 'The same process a little later, without the trainer.',
    },
    baseline: off,
    run: () => runTraining(environment, { off, on }, options),
  }
}

async function runTraining(
  environment: BenchEnvironment,
  { off, on }: { readonly off: string; readonly on: string },
  { rate, seconds, before }: TrainingOptions,
): Promise<readonly JobRun[]> {
  return closeAll(createShutdown(), async (shutdown) => {
    const { pipeline, run, ends } = await startAfterBacklog(
      environment,
      { definition: cardFraud, isScored: true, name: on, before },
      shutdown,
    )
    const { plan } = pipeline
    const span = { definition: cardFraud, rate, seconds, ...ends }
    const trainer = await startTrainer(environment, pipeline, shutdown)
    await trainer.untilRead(before)
    const busy = trainer.keepTraining()
    const beside = await run.sampleWhile(runOpenLoop(environment, pipeline, { ...span, from: before }, shutdown))
    const trained = await busy.end()
    await trainer.stop()
    const sent = before + beside.sent
    const without = await run.sampleWhile(runOpenLoop(environment, pipeline, { ...span, from: sent }, shutdown))
    await run.untilPredicted(sent + without.sent)
    await run.stop()
    const { counts } = await readOutcome(environment.broker.data, plan, { events: sent + without.sent, isScored: true })
    const measured = openLoopRun(on, during(run, beside), beside, { ...trained })
    const isIdle = trained.trainingShare < trainingShareMin
    const idle = `the trainer trained ${Math.round(trained.trainingShare * 100)} % of the time: it needs more --events`
    return [
      { ...measured, invalid: measured.invalid ?? (isIdle ? idle : null) },
      openLoopRun(off, during(run, without), without, { ...counts }),
    ]
  })
}

/** The samples of the process in that span, and shortly before and after it. */
function during({ usages }: Pick<MeasuredRun, 'usages'>, { fromMs, untilMs }: Pick<OpenLoop, 'fromMs' | 'untilMs'>) {
  const isNear = ({ atMs }: Usage) => atMs >= fromMs - aroundMs && atMs <= untilMs + aroundMs
  return { usages: usages.filter(isNear) }
}
