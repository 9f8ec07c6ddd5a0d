/**
 * A pipeline in a namespace of its own: opens its environment, creates its topics, starts the production process and watches its outputs.
 * Called by `start` and `verify`.
 */
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { checkTypes } from '../check-types.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes, failureText } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { createShutdown } from '../shutdown.ts'
import { ensureTopics } from '../topics/requirements.ts'
import type { OpenEnvironment, Parts, RunEnvironment } from './environment.ts'
import { watchTopics } from './watch-topics.ts'

export interface IsolatedPipeline {
  readonly plan: Plan
  readonly environment: RunEnvironment
  /** HTTP addresses of the production processes. */
  readonly urls: readonly [string, ...string[]]
  readonly watched: Watched
}

/** What has come out of the pipeline so far. */
export interface Watched {
  readonly counts: {
    predictions: number
    scored: number
    rejected: number
    /** Rejected events of the scored stream, which get no prediction. */
    unscorable: number
  }
  /** Called for every prediction from now on. */
  onPrediction: (prediction: Prediction, receivedMs: number) => void
}

const readyMaxMs = 60_000
const closeMaxMs = 30_000
/** Longest wait for the next prediction. */
const noProgressMaxMs = 60_000
const tickMs = 1_000

/** Runs `main` and closes all that it opened, even after a failure. Returns the exit code; rejects with the first failure. */
export async function withParts(context: CommandContext, main: (parts: Parts) => Promise<number>): Promise<number> {
  const { terminal } = context
  const shutdown = createShutdown()
  const stop = new AbortController()
  const signal = AbortSignal.any([context.stopping.signal(), stop.signal])
  let exitCode: number = exitCodes.done
  let failure: { readonly error: unknown } | null = null
  try {
    exitCode = await main({ context, shutdown, signal, giveUp: (error) => stop.abort(error) })
  } catch (error) {
    failure = { error }
  }
  const { failures, late } = await shutdown.close(closeMaxMs)
  const known = failure?.error ?? stop.signal.reason
  const further = failures.filter(({ error }) => error !== known)
  for (const { name, error } of further) terminal.err(`${name} could not be closed: ${failureText(error)}`)
  if (late.length > 0) terminal.err(`Not closed within ${closeMaxMs / 1_000} s: ${late.join(', ')}.`)
  if (failure) throw failure.error
  if (stop.signal.aborted) throw stop.signal.reason
  return further.length + late.length > 0 ? exitCodes.failed : exitCode
}

/** `meanwhile`: work to do in this process while the production process starts. */
export async function openIsolatedPipeline(
  definition: string,
  namespace: string,
  openEnvironment: OpenEnvironment,
  meanwhile: () => void,
  parts: Parts,
  processes = 1,
): Promise<IsolatedPipeline> {
  const { config } = parts.context
  await checkTypes(definition, parts.context)
  const plan = await loadPlan(definition, { namespace })
  const environment = await openEnvironment({ definition, namespace, plan }, parts)
  await ensureTopics(environment.broker.admin, plan, config.partitions)
  const urls = await environment.run(processes)
  meanwhile()
  for (const url of urls) await untilReady(url, parts)
  const watched = await watchPipeline(environment.broker, plan, parts)
  return { plan, environment, urls, watched }
}

async function untilReady(url: string, { context, signal }: Parts): Promise<void> {
  const { clock } = context
  const beganMs = clock.elapsedMs()
  let reason = 'no answer'
  while (!signal.aborted) {
    try {
      const response = await fetch(`${url}/health/ready`)
      if (response.ok) return
      reason = `${response.status} ${await response.text()}`
    } catch (error) {
      // Connections are refused until the process listens.
      reason = (error as Error).message
    }
    if (clock.elapsedMs() - beganMs > readyMaxMs) {
      throw new PipelineError('server_failed', `The pipeline is not ready after ${readyMaxMs / 1_000} s: ${reason}`)
    }
    await clock.sleep(50)
  }
}

async function watchPipeline(broker: Broker, plan: Plan, { context, shutdown, giveUp }: Parts): Promise<Watched> {
  const watched: Watched = {
    counts: { predictions: 0, scored: 0, rejected: 0, unscorable: 0 },
    onPrediction: () => undefined,
  }
  const topics = await watchTopics({
    broker,
    plan,
    clock: context.clock,
    from: 'end',
    onPrediction(prediction, receivedMs) {
      watched.counts.predictions++
      if (prediction.score !== null) watched.counts.scored++
      watched.onPrediction(prediction, receivedMs)
    },
    onRejection({ topic }) {
      watched.counts.rejected++
      if (topic === plan.scored.topic) watched.counts.unscorable++
    },
  })
  topics.ended.catch(giveUp)
  shutdown.add('watched topics', topics.close)
  return watched
}

/** Polls until `isDone` and reports every second. Rejects when predictions are outstanding and none arrives for a minute. */
export async function tickUntil(
  isDone: () => boolean,
  report: () => void,
  parts: {
    readonly isOutstanding: () => boolean
    readonly watched: Watched
    readonly clock: Clock
    readonly signal: AbortSignal
  },
): Promise<void> {
  const { isOutstanding, watched, clock, signal } = parts
  let reportedMs = clock.elapsedMs()
  let progress = { predictions: watched.counts.predictions, atMs: reportedMs }
  while (!isDone() && !signal.aborted) {
    await clock.sleep(20)
    const nowMs = clock.elapsedMs()
    const { predictions } = watched.counts
    if (predictions > progress.predictions || !isOutstanding()) progress = { predictions, atMs: nowMs }
    if (nowMs - progress.atMs > noProgressMaxMs) {
      const seconds = noProgressMaxMs / 1_000
      throw new PipelineError(
        'server_failed',
        `No prediction arrived for ${seconds} s; see the output of \`run\` above.`,
      )
    }
    if (nowMs - reportedMs < tickMs) continue
    reportedMs = nowMs
    report()
  }
}
