/**
 * A pipeline in a namespace of its own, for showing and proving it: servers, topics, the production process as a child, its outputs
 * watched. Called by `start` and `verify`.
 */
import type { Broker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { freePort } from '../runtime/servers/free-port.ts'
import { findServers } from '../runtime/servers/local-servers.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { Plan, Prediction } from '../schemas/plan.ts'
import { type ChildCommand, startCommandProcess } from './child-command.ts'
import { type Closing, createClosing } from './closing.ts'
import { type CommandContext, openPipelineBroker } from './context.ts'
import { exitCodes, failureText } from './failure-text.ts'
import { loadPlan } from './load-plan.ts'
import { ensureTopics } from './topics.ts'
import { watchTopics } from './watch-topics.ts'

/** What the parts of such a command share. */
export interface Parts {
  readonly context: CommandContext
  readonly closing: Closing
  /** Aborted by a signal, or by what failed beside the main line. */
  readonly signal: AbortSignal
  readonly giveUp: (error: unknown) => void
}

export interface OwnPipeline {
  readonly plan: Plan
  readonly namespace: string
  readonly broker: Broker
  /** HTTP address of the production process. */
  readonly url: string
  readonly watched: Watched
  /** Another command on the same pipeline, beside this one. */
  command(args: readonly string[]): ChildCommand
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
  const closing = createClosing()
  const stop = new AbortController()
  const signal = AbortSignal.any([context.stopping.signal(), stop.signal])
  let exitCode: number = exitCodes.done
  let failure: { readonly error: unknown } | null = null
  try {
    exitCode = await main({ context, closing, signal, giveUp: (error) => stop.abort(error) })
  } catch (error) {
    failure = { error }
  }
  const { failures, late } = await closing.close(closeMaxMs)
  for (const { name, error } of failures) terminal.err(`${name} did not close well. ${failureText(error)}`)
  if (late.length > 0) terminal.err(`Not closed within ${closeMaxMs / 1_000} s: ${late.join(', ')}.`)
  if (failure) throw failure.error
  if (stop.signal.aborted) throw stop.signal.reason
  return failures.length + late.length > 0 ? exitCodes.failed : exitCode
}

/** `meanwhile`: work that goes on here while the production process comes up. */
export async function openOwnPipeline(
  definition: string,
  namespace: string,
  meanwhile: () => void,
  parts: Parts,
): Promise<OwnPipeline> {
  const { context, closing, giveUp } = parts
  const { terminal, config: given } = context
  const servers = await findServers({
    kafkaBrokers: given.kafkaBrokers.join(','),
    ...(given.redisUrl === null ? {} : { redisUrl: given.redisUrl }),
    folder: given.folder,
    say: terminal.out,
  })
  closing.add('servers', servers.close)
  const config = { ...given, namespace, kafkaBrokers: servers.kafkaBrokers.split(','), redisUrl: servers.redisUrl }
  const plan = await loadPlan(definition, namespace)
  const { broker } = openPipelineBroker(plan, config, context)
  closing.add('Kafka', broker.close)
  await ensureTopics(broker, plan, config.partitions)

  const port = config.httpPort === 0 ? await freePort(undefined, []) : config.httpPort
  const environment = {
    MILLRACE_LOG_LEVEL: 'warn',
    ...context.environment,
    KAFKA_BROKERS: servers.kafkaBrokers,
    REDIS_URL: servers.redisUrl,
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: String(port),
  }
  const command = (args: readonly string[]) => {
    const child = startCommandProcess(args, environment)
    closing.add(args[0]!, child.stop)
    return child
  }
  const run = command(['run', definition])
  run.done.catch(giveUp)
  meanwhile()
  const url = `http://${config.httpHost}:${port}`
  await untilReady(url, parts)
  return { plan, namespace, broker, url, watched: await watchPipeline(broker, plan, parts), command }
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

async function watchPipeline(broker: Broker, plan: Plan, { context, closing, giveUp }: Parts): Promise<Watched> {
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
  closing.add('watched topics', topics.close)
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
