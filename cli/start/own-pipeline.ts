/**
 * A pipeline in a namespace of its own, for showing and proving it: the ground it stands on, topics, the production process, its outputs
 * watched. Called by `start` and `verify`.
 */
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes, failureText } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { createShutdown } from '../shutdown.ts'
import { ensureTopics } from '../topics/topics.ts'
import type { Ground, OpenGround, Parts, RunOptions } from './environment.ts'
import { watchTopics } from './watch-topics.ts'

export interface OwnPipeline {
  readonly plan: Plan
  readonly ground: Ground
  /** HTTP addresses of the production processes. */
  readonly urls: readonly [string, ...string[]]
  readonly watched: Watched
}

/** What has come out of the pipeline so far. */
export interface Watched {
  readonly counts: { predictions: number; scored: number; rejected: number }
  /** Called for every prediction from now on. */
  onPrediction: (prediction: Prediction, receivedMs: number) => void
}

const readyMaxMs = 60_000
const closeMaxMs = 30_000
/** With nothing new for this long, what has not come will not come. */
const silenceMaxMs = 60_000
const tickMs = 1_000

/** Runs `main` and closes whatever it opened, also after a failure. Answers the exit code; rejects with the first failure. */
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
  for (const { name, error } of further) terminal.err(`${name} did not close well. ${failureText(error)}`)
  if (late.length > 0) terminal.err(`Not closed within ${closeMaxMs / 1_000} s: ${late.join(', ')}.`)
  if (failure) throw failure.error
  if (stop.signal.aborted) throw stop.signal.reason
  return further.length + late.length > 0 ? exitCodes.failed : exitCode
}

/** `meanwhile`: work that goes on here while the production process comes up. */
export async function openOwnPipeline(
  definition: string,
  namespace: string,
  openGround: OpenGround,
  meanwhile: () => void,
  parts: Parts,
  options: RunOptions = { processes: 1, isReplay: false },
): Promise<OwnPipeline> {
  const { config } = parts.context
  const plan = await loadPlan(definition, namespace)
  const ground = await openGround({ definition, namespace, plan }, parts)
  await ensureTopics(ground.broker, plan, config.partitions)
  const urls = await ground.run(options)
  meanwhile()
  for (const url of urls) await untilReady(url, parts)
  const watched = await watchPipeline(ground.broker, plan, parts)
  return { plan, ground, urls, watched }
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
      // Until it listens nobody answers.
      reason = (error as Error).message
    }
    if (clock.elapsedMs() - beganMs > readyMaxMs) {
      throw new PipelineError('server_failed', `The pipeline is not ready after ${readyMaxMs / 1_000} s: ${reason}`)
    }
    await clock.sleep(50)
  }
}

async function watchPipeline(broker: Broker, plan: Plan, { context, shutdown, giveUp }: Parts): Promise<Watched> {
  const watched: Watched = { counts: { predictions: 0, scored: 0, rejected: 0 }, onPrediction: () => undefined }
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
    onRejection: () => void watched.counts.rejected++,
  })
  topics.ended.catch(giveUp)
  shutdown.add('watched topics', topics.close)
  return watched
}

/** Looks often whether it is done and tells every second. Rejects when predictions are owed and none comes any more. */
export async function tickUntil(
  isDone: () => boolean,
  tell: () => void,
  parts: {
    readonly isOwed: () => boolean
    readonly watched: Watched
    readonly clock: Clock
    readonly signal: AbortSignal
  },
): Promise<void> {
  const { isOwed, watched, clock, signal } = parts
  let toldMs = clock.elapsedMs()
  let heard = { predictions: watched.counts.predictions, atMs: toldMs }
  while (!isDone() && !signal.aborted) {
    await clock.sleep(20)
    const nowMs = clock.elapsedMs()
    const { predictions } = watched.counts
    if (predictions > heard.predictions || !isOwed()) heard = { predictions, atMs: nowMs }
    if (nowMs - heard.atMs > silenceMaxMs) {
      const seconds = silenceMaxMs / 1_000
      throw new PipelineError('server_failed', `No prediction came for ${seconds} s; see what \`run\` said above.`)
    }
    if (nowMs - toldMs < tickMs) continue
    toldMs = nowMs
    tell()
  }
}
