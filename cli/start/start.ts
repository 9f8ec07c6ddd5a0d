/**
 * `millrace start`, the demonstration: on real servers with child processes, or embedded in this one, it sends 45 days of the benchmark
 * at full speed, trains a first model from the mature labels, then sends paced events and prints their scores, rates and latencies.
 *
 *   environment → namespace and topics → `run` → warm-up → `train` → paced events
 */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Pace } from '../../producers/pace.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import type { Parts } from '../environment/environment.ts'
import { createEventSender, type EventSender } from '../environment/event-sender.ts'
import { openIsolatedPipeline, tickUntil, type Watched, withParts } from '../environment/isolated-pipeline.ts'
import { isBenchmark, type OwnSourceOptions } from '../environment/source-spans.ts'
import { exitCodes } from '../failure-text.ts'
import { drawHandbook } from '../sources/open-source.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { writeFigures, writeWholeFile } from '../whole-file.ts'
import { checkEnvironmentOptions, chooseEnvironment } from './choose-environment.ts'
import { createLatencyRecord, type LatencyPercentiles } from './latency.ts'

export interface StartCommandOptions extends OwnSourceOptions {
  /** Without servers, inside this process. */
  readonly embedded?: boolean
  /** Continues in the namespace of the last start, after its newest event. */
  readonly resume?: boolean
  /** Days of events that are sent at full speed first: 45 of the benchmark, three quarters of files of one's own. */
  readonly days?: number
  /** Ends after so many paced and scored events. */
  readonly events?: number
  /** Events a second of the paced part; or event seconds a second. */
  readonly rate?: number
  readonly speed?: number
  readonly json?: string
}

export interface StartFigures {
  readonly events: number
  readonly predictions: number
  readonly rejected: number
  readonly eventsPerSecond: number
  readonly latencyMs: LatencyPercentiles | null
}

const dayMs = 86_400_000
const daysDefault = 45
/** Of files of one's own. */
const warmUpShare = 0.75
const rateDefault = 500

export async function startCommand(
  definition: string,
  options: StartCommandOptions,
  context: CommandContext,
): Promise<number> {
  checkEnvironmentOptions(options)
  return withParts(context, (parts) => show(definition, options, parts))
}

async function show(definition: string, options: StartCommandOptions, parts: Parts): Promise<number> {
  const { context, signal } = parts
  const { terminal, clock, config } = context
  const namespaceFile = join(config.folder, 'start.json')
  const resumed = options.resume ? await readNamespace(namespaceFile) : null
  const namespace = resumed ?? (config.namespace || `start-${clock.nowMs().toString(36)}`)
  const pipeline = await openIsolatedPipeline(
    definition,
    namespace,
    (subject) => chooseEnvironment(options, subject, parts),
    () => void (isBenchmark(options) && drawHandbook(options.seed ?? 0)),
    parts,
  )
  const { plan, environment, watched, urls } = pipeline
  const [url] = urls
  terminal.out(`${plan.name}: ${resumed ? 'continues in' : 'starts in the new'} namespace ${namespace}.`)
  const sender = await createEventSender(pipeline, options, context)
  const days = options.days ?? (sender.lastMs === null ? daysDefault : ownDays(sender.startMs, sender.lastMs))
  const warmUpEndMs = sender.startMs + days * dayMs
  if (!resumed && !signal.aborted) {
    terminal.out(`Warm-up: ${days} days of events at full speed.`)
    await warmUp(sender, watched, warmUpEndMs, parts)
    if (signal.aborted) return exitCodes.done
    terminal.out('Training the first model on the mature labels.')
    await environment.train()
    if (environment.isDurable) await writeNamespace(namespaceFile, namespace)
  }
  if (signal.aborted) return exitCodes.done
  const { continuous, retrain } = plan.learn
  const trainer = continuous || retrain ? await environment.learn() : null
  const first = plan.entityStages[0]
  terminal.out(
    `Features over HTTP: ${url}/features/${first!.entity.name}/${isBenchmark(options) ? '596' : '<key>'}   metrics: ${url}/metrics   Ctrl-C stops.`,
  )
  if (trainer)
    terminal.out(`Learning from labels as they mature: ${trainer}/trainer   Models: millrace models list ${definition}`)
  const fromMs = resumed ? await sender.afterNewest() : warmUpEndMs
  await runPaced(plan, sender, watched, { ...options, fromMs }, parts)
  return sender.refused > (options.allowRejects ?? 0) ? exitCodes.rejected : exitCodes.done
}

function ownDays(firstMs: number, lastMs: number): number {
  return Math.max(1, Math.floor((warmUpShare * (lastMs - firstMs)) / dayMs))
}

async function writeNamespace(path: string, namespace: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeWholeFile(path, `${JSON.stringify({ namespace })}\n`)
}

async function readNamespace(path: string): Promise<string> {
  const missing =
    'There is nothing to resume: --resume needs an earlier start that had trained its first model. Leave it out.'
  try {
    const { namespace } = JSON.parse(await readFile(path, 'utf8')) as { namespace?: unknown }
    if (typeof namespace === 'string') return namespace
  } catch (cause) {
    throw new PipelineError('usage', missing, { cause })
  }
  throw new PipelineError('usage', missing)
}

async function warmUp(
  sender: EventSender,
  watched: Watched,
  untilMs: number,
  { context, signal, giveUp }: Parts,
): Promise<void> {
  const { clock, terminal } = context
  const beganMs = clock.elapsedMs()
  let last: Prediction | null = null
  watched.onPrediction = (prediction) => {
    last = prediction
  }
  const shownBefore = { predictions: 0, atMs: beganMs }
  const report = () => {
    const nowMs = clock.elapsedMs()
    const rate =
      ((watched.counts.predictions - shownBefore.predictions) * 1_000) / Math.max(1, nowMs - shownBefore.atMs)
    Object.assign(shownBefore, { predictions: watched.counts.predictions, atMs: nowMs })
    const counts = `${shown(watched.counts.predictions)} of ${shown(sender.sent)} sent, ${shown(Math.round(rate))}/s`
    terminal.out(last ? `  ${predictionText(last)}   ${counts}` : `  waiting for the first event   ${counts}`)
  }
  let isSending = true
  const sent = sender
    .send({ fromMs: sender.startMs, untilMs }, { kind: 'flat out' }, signal, () => undefined)
    .catch(giveUp)
    .finally(() => {
      isSending = false
    })
  const isOutstanding = () => sender.sent > watched.counts.predictions + watched.counts.unscorable
  await tickUntil(() => !isSending && !isOutstanding(), report, { isOutstanding, watched, clock, signal })
  await sent
  const seconds = (clock.elapsedMs() - beganMs) / 1_000
  if (signal.aborted) return
  const { predictions, rejected } = watched.counts
  const rate = shown(Math.round(predictions / seconds))
  terminal.out(`  ${shown(predictions)} events in ${seconds.toFixed(1)} s (${rate}/s), ${shown(rejected)} rejected`)
}

async function runPaced(
  plan: Plan,
  sender: EventSender,
  watched: Watched,
  options: StartCommandOptions & { readonly fromMs: number },
  { context, signal, giveUp }: Parts,
): Promise<void> {
  const { terminal, clock } = context
  const pace: Pace =
    options.speed === undefined
      ? { kind: 'rate', eventsPerSecond: options.rate ?? rateDefault }
      : { kind: 'event time', speed: options.speed }
  const wanted = options.events ?? Number.POSITIVE_INFINITY
  const enough = new AbortController()
  const latency = createLatencyRecord()
  const sentBefore = sender.sent
  const rejectedBefore = watched.counts.rejected
  const received = { predictions: 0, unscored: 0, firstMs: Number.POSITIVE_INFINITY, lastMs: 0 }
  let last: Prediction | null = null
  watched.onPrediction = (prediction, receivedMs) => {
    if (latency.received(prediction.id, receivedMs) === null) return
    received.predictions++
    if (prediction.score === null) received.unscored++
    received.lastMs = receivedMs
    last = prediction
  }
  let isSending = true
  const sent = sender
    .send({ fromMs: options.fromMs }, pace, AbortSignal.any([signal, enough.signal]), (event, scheduledMs) => {
      if (event.stream !== plan.scored.name) return
      latency.scheduled(event.id, scheduledMs)
      received.firstMs = Math.min(received.firstMs, scheduledMs)
      if (sender.sent - sentBefore - received.unscored >= wanted) enough.abort()
    })
    .catch(giveUp)
    .finally(() => {
      isSending = false
    })
  const rate = () => (received.predictions * 1_000) / Math.max(1, received.lastMs - received.firstMs)
  const report = () => {
    const percentiles = latency.percentiles()
    if (!last || !percentiles) return
    const { p50, p99 } = percentiles
    terminal.out(
      `  ${predictionText(last)}   ${shown(Math.round(rate()))} events/s, latency p50 ${p50.toFixed(0)} ms, ` +
        `p99 ${p99.toFixed(0)} ms`,
    )
  }
  const isOutstanding = () => latency.waiting > 0
  await tickUntil(() => !isSending && !isOutstanding(), report, { isOutstanding, watched, clock, signal })
  await sent
  const figures: StartFigures = {
    events: sender.sent - sentBefore,
    predictions: received.predictions,
    rejected: watched.counts.rejected - rejectedBefore,
    eventsPerSecond: Math.round(rate() * 10) / 10,
    latencyMs: latency.percentiles(),
  }
  printFigures(figures, terminal)
  await writeFigures(options.json, figures)
}

function printFigures({ events, predictions, rejected, eventsPerSecond, latencyMs }: StartFigures, terminal: Terminal) {
  terminal.out(
    `Paced: ${shown(events)} events sent, ${shown(predictions)} predictions received, ${shown(rejected)} rejected, ` +
      `${shown(eventsPerSecond)} events/s.`,
  )
  if (!latencyMs) return
  const { p50, p99, p999 } = latencyMs
  terminal.out(
    `  latency from scheduled send to receipt: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, p99.9 ${p999.toFixed(1)} ms`,
  )
}

/** One scored event on a line. */
function predictionText({ id, time, score, modelVersion, features }: Prediction): string {
  const scoreText = score === null ? 'no model yet' : `${score.toFixed(4)} by ${modelVersion}`
  return `${shownTime(time)} event ${id}: ${features.length} features, score ${scoreText}`
}
