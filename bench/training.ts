/**
 * What learning costs those who score: the paced job twice with one and the same process, while a trainer retrains on the same machine as
 * fast as it can and after it has stopped. In this order, so that what a process gains with time is not put to the trainer's credit.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startCommandProcess } from '../cli/child-command.ts'
import { createShutdown, type Shutdown } from '../cli/shutdown.ts'
import type { TrainerResponse } from '../online-model/trainer/routes.ts'
import { got, outcomeOf } from '../processors/outcome.ts'
import { freePort } from '../runtime/servers/free-port.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { fineClock } from './clock.ts'
import { type BenchEnvironment, cardFraud } from './environment.ts'
import type { MeasuredRun, OwnNamespace } from './isolated-pipeline.ts'
import type { Job, JobRun } from './job.ts'
import type { Usage } from './middle.ts'
import { type OpenLoop, runOpenLoop } from './open-loop.ts'
import { readOutcome } from './outcome.ts'
import { openLoopRun, startWorkedOff } from './paced.ts'
import { closeAll } from './run-parts.ts'

export interface TrainingOptions {
  readonly rate: number
  readonly seconds: number
  /** Transactions that are worked off and read by the trainer before; those of the last week are not ripe. */
  readonly before: number
}

const lookEveryMs = 250
const catchUpMaxMs = 600_000
/** Of the looks at the trainer during a run that counts. */
const trainingShareMin = 0.5
/** More than the time between two looks at the process. */
const aroundMs = 3_000

export function trainingJob(place: BenchEnvironment, options: TrainingOptions): Job {
  const [off, on] = [`trainer-off-${options.rate}`, `trainer-on-${options.rate}`]
  return {
    measures: {
      [on]: `card-fraud, scored, at ${options.rate} events a second, while a trainer beside it trains one version after the other.`,
      [off]: 'The same process a little later, without the trainer.',
    },
    baseline: off,
    run: () => runTraining(place, { off, on }, options),
  }
}

async function runTraining(
  place: BenchEnvironment,
  { off, on }: { readonly off: string; readonly on: string },
  { rate, seconds, before }: TrainingOptions,
): Promise<readonly JobRun[]> {
  return closeAll(createShutdown(), async (shutdown) => {
    const { pipeline, run, ends } = await startWorkedOff(place, { definition: cardFraud, name: on, before }, shutdown)
    const { plan } = pipeline
    const span = { definition: cardFraud, rate, seconds, ...ends }
    const trainer = await startTrainer(place, pipeline, shutdown)
    await trainer.untilRead(before)
    const busy = trainer.keepTraining()
    const beside = await run.lookWhile(runOpenLoop(place, pipeline, { ...span, from: before }, shutdown))
    const trained = await busy.end()
    await trainer.stop()
    const sent = before + beside.sent
    const without = await run.lookWhile(runOpenLoop(place, pipeline, { ...span, from: sent }, shutdown))
    await run.untilPredicted(sent + without.sent)
    await run.stop()
    const { counts } = await readOutcome(place.broker, plan, { events: sent + without.sent, isScored: true })
    const measured = openLoopRun(on, during(run, beside), beside, trained)
    const isIdle = trained.trainingShare < trainingShareMin
    const idle = `the trainer trained ${Math.round(trained.trainingShare * 100)} % of the time: it needs more --events`
    return [
      { ...measured, invalid: measured.invalid ?? (isIdle ? idle : null) },
      openLoopRun(off, during(run, without), without, { ...counts }),
    ]
  })
}

/** What was seen of the process in that span, and a little around it. */
function during({ usages }: Pick<MeasuredRun, 'usages'>, { fromMs, untilMs }: Pick<OpenLoop, 'fromMs' | 'untilMs'>) {
  const isNear = ({ atMs }: Usage) => atMs >= fromMs - aroundMs && atMs <= untilMs + aroundMs
  return { usages: usages.filter(isNear) }
}

interface BenchTrainer {
  /** Resolves when so many predictions are in the training store. */
  untilRead(predictions: number): Promise<void>
  stop(): Promise<void>
  keepTraining(): { end(): Promise<{ readonly retrainings: number; readonly trainingShare: number }> }
}

async function startTrainer(
  { config, environment }: BenchEnvironment,
  { namespace }: OwnNamespace,
  shutdown: Shutdown,
): Promise<BenchTrainer> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  shutdown.add('folder of the trainer', () => rm(folder, { recursive: true, force: true }))
  const port = await freePort(undefined, [])
  const url = `http://${config.httpHost}:${port}`
  const child = startCommandProcess(['trainer', cardFraud], {
    ...environment,
    MILLRACE_LOG_LEVEL: 'warn',
    KAFKA_BROKERS: config.kafkaBrokers.join(','),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_FOLDER: folder,
    MILLRACE_TRAINER_PORT: String(port),
  })
  let stopping: Promise<void> | null = null
  const stop = () => {
    stopping ??= child.stop()
    return stopping
  }
  shutdown.add('trainer', stop)
  /** Null while it does not listen yet. */
  const look = async () => {
    const answered = fetch(`${url}/trainer`).then(
      async (response) => (await response.json()) as TrainerResponse,
      () => null,
    )
    const answer = await Promise.race([answered, child.done])
    if (answer === undefined) throw new PipelineError('server_failed', 'The trainer ended by itself.')
    return answer
  }

  return {
    stop,
    async untilRead(predictions) {
      const beganMs = fineClock.elapsedMs()
      for (;;) {
        const read = (await look())?.store.counts.predictions ?? 0
        if (read >= predictions) return
        if (fineClock.elapsedMs() - beganMs > catchUpMaxMs) {
          throw new PipelineError(
            'server_failed',
            `The trainer has read ${read} of ${predictions} predictions in time.`,
          )
        }
        await fineClock.sleep(lookEveryMs)
      }
    },
    keepTraining() {
      let isOver = false
      let wasTraining = false
      let [looks, training, retrainings] = [0, 0, 0]
      const watch = async () => {
        while (!isOver) {
          const isTraining = Boolean((await look())?.retraining)
          looks++
          if (isTraining) training++
          else await fetch(`${url}/retrain`, { method: 'POST' })
          if (isTraining && !wasTraining) retrainings++
          wasTraining = isTraining
          await fineClock.sleep(lookEveryMs)
        }
      }
      const watched = outcomeOf(watch())
      return {
        async end() {
          isOver = true
          got(await watched)
          return { retrainings, trainingShare: training / looks }
        },
      }
    },
  }
}
