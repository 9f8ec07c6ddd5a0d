/**
 * The production process as a child of the bench, sampled through its `/metrics` as an operator would. Started by the jobs through
 * `isolated-pipeline.ts`.
 */
import { type ChildCommand, startCommandProcess } from '../cli/child-command.ts'
import type { Shutdown } from '../cli/shutdown.ts'
import { freePort } from '../runtime/servers/free-port.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { fineClock } from './clock.ts'
import type { BenchEnvironment } from './environment.ts'
import { parseMetrics } from './metrics-text.ts'
import type { Usage } from './middle.ts'

export interface MeasuredRun {
  readonly url: string
  /** In order of time; the first is the start of the process, with nothing used. */
  readonly usages: readonly Usage[]
  /** Of the latest sample. */
  readonly counts: Readonly<RunCounts>
  /** Samples until so many predictions are committed. Rejects when the process ended or no prediction arrives for a minute. */
  untilPredicted(predictions: number): Promise<void>
  /** Samples once a second until the promise is settled, and once after that. */
  sampleWhile<T>(busy: Promise<T>): Promise<T>
  /** Resolves when the process has finished its batch and ended. */
  stop(): Promise<void>
}

export interface RunCounts {
  readonly predictions: number
  readonly duplicates: number
  readonly late: number
  readonly releasedEarly: number
}

interface RunState {
  readonly url: string
  readonly child: ChildCommand
  readonly usages: Usage[]
  counts: RunCounts
  stopping: Promise<void> | null
}

/**
 * A sample costs the process about 2 ms. During a backlog each sample is a point of the CPU curve, at the cost of 1 % of a core; while
 * latencies are measured, samples are fewer.
 */
const backlogSampleEveryMs = 250
const latencySampleEveryMs = 1_000
const noProgressMaxMs = 60_000
const megabyte = 1_000_000

export async function startMeasuredRun(
  { config, env, profileFolder }: BenchEnvironment,
  definition: string,
  namespace: string,
  shutdown: Shutdown,
): Promise<MeasuredRun> {
  const port = await freePort(undefined, [])
  const startedAtMs = fineClock.nowMs()
  const child = startCommandProcess(
    ['run', definition],
    {
      ...env,
      MILLRACE_LOG_LEVEL: 'warn',
      KAFKA_BROKERS: config.kafkaBrokers.join(','),
      REDIS_URL: config.redisUrl!,
      MILLRACE_NAMESPACE: namespace,
      MILLRACE_RAW_NAMESPACE: '',
      MILLRACE_HTTP_PORT: String(port),
    },
    profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`],
  )
  const state: RunState = {
    url: `http://${config.httpHost}:${port}`,
    child,
    usages: [{ atMs: startedAtMs, cpuSeconds: 0, residentBytes: 0 }],
    counts: { predictions: 0, duplicates: 0, late: 0, releasedEarly: 0 },
    stopping: null,
  }
  shutdown.add('run', () => stop(state))
  return {
    url: state.url,
    usages: state.usages,
    get counts() {
      return state.counts
    },
    stop: () => stop(state),
    sampleWhile: (busy) => sampleWhile(state, busy),
    untilPredicted: (predictions) => untilPredicted(state, predictions),
  }
}

export function maxResidentMb(usages: readonly Usage[]): number {
  return Math.max(...usages.map(({ residentBytes }) => residentBytes)) / megabyte
}

function stop(state: RunState): Promise<void> {
  state.stopping ??= state.child.stop()
  return state.stopping
}

/** Adds nothing before the process listens. */
async function sample(state: RunState): Promise<void> {
  const answer = await Promise.race([fetchText(`${state.url}/metrics`), state.child.done])
  if (answer === undefined) throw new PipelineError('server_failed', 'The measured process ended by itself.')
  if (answer === null) return
  const sum = parseMetrics(answer)
  state.usages.push({
    atMs: fineClock.nowMs(),
    cpuSeconds: sum('process_cpu_seconds_total'),
    residentBytes: sum('process_resident_memory_bytes'),
  })
  state.counts = {
    predictions: sum('millrace_predictions_total'),
    duplicates: sum('millrace_duplicates_total'),
    late: sum('millrace_late_events'),
    releasedEarly: sum('millrace_released_early_events'),
  }
}

async function sampleWhile<T>(state: RunState, busy: Promise<T>): Promise<T> {
  let isOver = false
  const over = busy.finally(() => {
    isOver = true
  })
  // The failure reaches the await below; until then it must not be an unhandled rejection.
  over.catch(() => undefined)
  do {
    await sample(state)
    await Promise.race([over, fineClock.sleep(latencySampleEveryMs)])
  } while (!isOver)
  const result = await over
  await sample(state)
  return result
}

async function untilPredicted(state: RunState, predictions: number): Promise<void> {
  let progress = { predictions: -1, atMs: fineClock.elapsedMs() }
  for (;;) {
    await sample(state)
    const { counts } = state
    if (counts.predictions >= predictions) return
    const nowMs = fineClock.elapsedMs()
    if (counts.predictions > progress.predictions) progress = { predictions: counts.predictions, atMs: nowMs }
    if (nowMs - progress.atMs > noProgressMaxMs) {
      throw new PipelineError(
        'server_failed',
        `No prediction arrived for ${noProgressMaxMs / 1_000} s after ${counts.predictions} of ${predictions}; see the output of ` +
          '`run` above.',
      )
    }
    await fineClock.sleep(backlogSampleEveryMs)
  }
}

/** Null where the connection is refused. */
async function fetchText(url: string): Promise<string | null> {
  const response = await fetch(url).catch((error: Error) => {
    const code = (error.cause as NodeJS.ErrnoException | undefined)?.code
    if (code === 'ECONNREFUSED') return null
    throw error
  })
  return response === null ? null : response.text()
}
