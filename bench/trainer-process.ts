/** The trainer as a child of the bench, controlled over its HTTP routes. Started by the training job. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChildCommand, startCommandProcess } from '../cli/child-command.ts'
import type { Shutdown } from '../cli/shutdown.ts'
import type { TrainerResponse } from '../online-model/trainer/routes.ts'
import { outcomeOf, unwrap } from '../processors/outcome.ts'
import { freePort } from '../runtime/servers/free-port.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { fineClock } from './clock.ts'
import { type BenchEnvironment, cardFraud } from './environment.ts'
import type { IsolatedPipeline } from './isolated-pipeline.ts'

export interface BenchTrainer {
  /** Resolves when so many predictions are in the training store. */
  untilRead(predictions: number): Promise<void>
  stop(): Promise<void>
  /** Starts one training after the other until `end`. */
  keepTraining(): { end(): Promise<TrainingTally> }
}

export interface TrainingTally {
  readonly retrainings: number
  /** Share of the samples in which the trainer was training. */
  readonly trainingShare: number
}

interface TrainerState {
  readonly url: string
  readonly child: ChildCommand
  stopping: Promise<void> | null
}

const sampleEveryMs = 250
const catchUpMaxMs = 600_000

export async function startTrainer(
  { config, env }: BenchEnvironment,
  { namespace }: IsolatedPipeline,
  shutdown: Shutdown,
): Promise<BenchTrainer> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
  shutdown.add('folder of the trainer', () => rm(folder, { recursive: true, force: true }))
  const port = await freePort(undefined, [])
  const child = startCommandProcess(['trainer', cardFraud], {
    ...env,
    MILLRACE_LOG_LEVEL: 'warn',
    KAFKA_BROKERS: config.kafkaBrokers.join(','),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_RAW_NAMESPACE: '',
    MILLRACE_FOLDER: folder,
    MILLRACE_TRAINER_PORT: String(port),
  })
  const state: TrainerState = { url: `http://${config.httpHost}:${port}`, child, stopping: null }
  shutdown.add('trainer', () => stop(state))
  return {
    stop: () => stop(state),
    untilRead: (predictions) => untilRead(state, predictions),
    keepTraining() {
      const stopTraining = new AbortController()
      const tally = outcomeOf(trainWithoutPause(state, stopTraining.signal))
      return {
        async end() {
          stopTraining.abort()
          return unwrap(await tally)
        },
      }
    },
  }
}

function stop(state: TrainerState): Promise<void> {
  state.stopping ??= state.child.stop()
  return state.stopping
}

/** Null before the trainer listens. */
async function fetchStatus({ url, child }: TrainerState): Promise<TrainerResponse | null> {
  const answered = fetch(`${url}/trainer`).then(
    async (response) => (await response.json()) as TrainerResponse,
    () => null,
  )
  const answer = await Promise.race([answered, child.done])
  if (answer === undefined) throw new PipelineError('server_failed', 'The trainer ended by itself.')
  return answer
}

async function untilRead(state: TrainerState, predictions: number): Promise<void> {
  const beganMs = fineClock.elapsedMs()
  for (;;) {
    const read = (await fetchStatus(state))?.store.counts.predictions ?? 0
    if (read >= predictions) return
    if (fineClock.elapsedMs() - beganMs > catchUpMaxMs) {
      throw new PipelineError(
        'server_failed',
        `The trainer read ${read} of ${predictions} predictions in ${catchUpMaxMs / 1_000} s.`,
      )
    }
    await fineClock.sleep(sampleEveryMs)
  }
}

async function trainWithoutPause(state: TrainerState, signal: AbortSignal): Promise<TrainingTally> {
  let wasTraining = false
  let [samples, training, retrainings] = [0, 0, 0]
  while (!signal.aborted) {
    const isTraining = Boolean((await fetchStatus(state))?.retraining)
    samples++
    if (isTraining) training++
    else await fetch(`${state.url}/retrain`, { method: 'POST' })
    if (isTraining && !wasTraining) retrainings++
    wasTraining = isTraining
    await fineClock.sleep(sampleEveryMs)
  }
  return { retrainings, trainingShare: training / samples }
}
