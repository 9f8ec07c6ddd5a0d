/**
 * `millrace verify`: proves that live equals replay. Sends a stream of the benchmark, or files, through an isolated pipeline and compares
 * each prediction's vector, bit for bit, with that of the replay. Exit code 1 when anything differs.
 */

import { createReplay, type Replayed, type ReplayOptions } from '../../processors/replay.ts'
import type { Pace } from '../../producers/pace.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { openEmbeddedEnvironment } from '../environment/embedded.ts'
import type { Parts } from '../environment/environment.ts'
import { createEventSender } from '../environment/event-sender.ts'
import { openIsolatedPipeline, tickUntil, withParts } from '../environment/isolated-pipeline.ts'
import { openServerEnvironment } from '../environment/servers.ts'
import { isBenchmark, type OwnSourceOptions } from '../environment/source-spans.ts'
import { exitCodes } from '../failure-text.ts'
import { drawHandbook } from '../sources/open-source.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { requireTopics } from '../topics/requirements.ts'
import { writeFigures } from '../whole-file.ts'

export interface VerifyCommandOptions extends OwnSourceOptions {
  /** Without servers, inside this process. */
  readonly embedded?: boolean
  /** Event time that the stream ends before, ms since 1970; required for the benchmark. */
  readonly until?: number
  readonly rate?: number
  readonly speed?: number
  readonly processes: number
  readonly json?: string
}

export interface VerifyFigures {
  readonly events: number
  readonly compared: number
  readonly differing: number
  readonly missing: number
  readonly doubled: number
  readonly late: number
  readonly releasedEarly: number
  readonly rejected: number
  readonly duplicates: number
  /** Rows that were not sent, since they are no valid events. */
  readonly refused: number
  readonly seconds: number
}

const differencesShownMax = 10

export function verifyCommand(
  definition: string,
  options: VerifyCommandOptions,
  context: CommandContext,
): Promise<number> {
  return withParts(context, (parts) => verify(definition, options, parts))
}

async function verify(definition: string, options: VerifyCommandOptions, parts: Parts): Promise<number> {
  if (isBenchmark(options) && options.until === undefined) {
    throw new PipelineError(
      'usage',
      '--until is missing: expected a day such as 2018-06-02, or --source with files of your own.',
    )
  }
  const { context, signal, giveUp } = parts
  const { clock, terminal } = context
  const namespace = `verify-${clock.nowMs().toString(36)}`
  const pipeline = await openIsolatedPipeline(
    definition,
    namespace,
    options.embedded ? openEmbeddedEnvironment : openServerEnvironment,
    () => void (isBenchmark(options) && drawHandbook(options.seed ?? 0)),
    parts,
    options.processes,
  )
  const { plan, environment, watched, urls } = pipeline
  const partitionsOf = await requireTopics(environment.broker.data, [plan.scored.topic])
  const expected = createExpectation(
    plan,
    { partitions: partitionsOf(plan.scored.topic), entityBytesMax: context.config.entityMbMax * 2 ** 20 },
    terminal,
  )
  watched.onPrediction = ({ id, features }) => expected.compare(id, features)

  const sender = await createEventSender(pipeline, options, context)
  const span = { fromMs: sender.startMs, ...(options.until === undefined ? {} : { untilMs: options.until }) }
  const beganMs = clock.elapsedMs()
  let timeMs = sender.startMs
  let isSending = true
  const sent = sender
    .send(span, paceOf(options), signal, (event) => {
      timeMs = event.timeMs
      expected.push(event.stream, event.values)
    })
    .catch(giveUp)
    .finally(() => {
      isSending = false
    })
  const report = () =>
    terminal.err(`  ${shownTime(timeMs)}: ${shown(sender.sent)} sent, ${shown(watched.counts.predictions)} predicted`)
  const isOutstanding = () => sender.sent > watched.counts.predictions + watched.counts.unscorable
  await tickUntil(() => !isSending && !isOutstanding(), report, { isOutstanding, watched, clock, signal })
  await sent
  if (signal.aborted) return exitCodes.interrupted
  const metrics = await readMetrics(urls)
  const figures: VerifyFigures = {
    events: sender.sent,
    ...expected.finish(),
    late: metrics('millrace_late_events'),
    releasedEarly: metrics('millrace_released_early_events'),
    rejected: watched.counts.rejected,
    duplicates: metrics('millrace_duplicates_total'),
    refused: sender.refused,
    seconds: Math.round((clock.elapsedMs() - beganMs) / 100) / 10,
  }
  print(figures, options.embedded ? 'this process' : 'Kafka and Redis', terminal)
  await writeFigures(options.json, figures)
  if (figures.differing + figures.missing + figures.doubled > 0) return exitCodes.failed
  return figures.refused > (options.allowRejects ?? 0) ? exitCodes.rejected : exitCodes.done
}

function paceOf({ rate, speed }: VerifyCommandOptions): Pace {
  if (speed !== undefined) return { kind: 'event time', speed }
  return rate === undefined ? { kind: 'flat out' } : { kind: 'rate', eventsPerSecond: rate }
}

interface Expectation {
  push(stream: string, values: Replayed['event']): void
  compare(id: string, features: readonly number[]): void
  finish(): Pick<VerifyFigures, 'compared' | 'differing' | 'missing' | 'doubled'>
}

/** The two sides may arrive in any order. A pair is dropped once it is compared, so memory holds only what is outstanding. */
function createExpectation(plan: Plan, options: ReplayOptions, terminal: Terminal): Expectation {
  const replay = createReplay(plan, options)
  const indexes = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const replayed = new Map<string, Float64Array>()
  const live = new Map<string, readonly number[]>()
  const done = new Set<string>()
  const counts = { compared: 0, differing: 0, missing: 0, doubled: 0 }

  function expect(results: readonly Replayed[]): void {
    for (const { id, vector } of results) {
      const features = live.get(id)
      if (features) settle(id, vector, features)
      else replayed.set(id, vector)
    }
  }

  function compare(id: string, features: readonly number[]): void {
    if (done.has(id) || live.has(id)) {
      counts.doubled++
      return
    }
    const vector = replayed.get(id)
    if (vector) settle(id, vector, features)
    else live.set(id, features)
  }

  function settle(id: string, vector: Float64Array, features: readonly number[]): void {
    replayed.delete(id)
    live.delete(id)
    done.add(id)
    counts.compared++
    const differing = plan.features.filter((_, i) => !Object.is(vector[i], features[i]))
    if (differing.length === 0) return
    if (++counts.differing > differencesShownMax) return
    const differences = differing.map(({ name }) => {
      const at = plan.features.findIndex((feature) => feature.name === name)
      return `${name} replay ${vector[at]}, live ${features[at]}`
    })
    terminal.err(`event ${id} differs: ${differences.join('; ')}`)
  }

  function finish() {
    expect(replay.flush())
    counts.missing = replayed.size
    if (live.size > 0) {
      const [id] = live.keys()
      throw new PipelineError(
        'server_failed',
        `${live.size} predictions belong to no event that was sent, the first has id ${id}.`,
      )
    }
    return counts
  }

  return { push: (stream, values) => expect(replay.push(indexes.get(stream)!, values)), compare, finish }
}

/** Sums of a metric over all processes and labels. */
async function readMetrics(urls: readonly string[]): Promise<(name: string) => number> {
  const texts = await Promise.all(urls.map(async (url) => (await fetch(`${url}/metrics`)).text()))
  const all = texts.flatMap((text) => text.split('\n'))
  return (name) => {
    const lines = all.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }
}

function print(figures: VerifyFigures, environment: string, terminal: Terminal): void {
  const { events, compared, differing, missing, doubled, late, releasedEarly, rejected, duplicates, refused, seconds } =
    figures
  terminal.out(
    `${shown(events)} events through ${environment} in ${seconds} s: ${shown(compared)} vectors compared with the replay, ` +
      `${shown(differing)} differing, ${shown(missing)} missing, ${shown(doubled)} doubled.`,
  )
  terminal.out(
    `  ${shown(late)} late, ${shown(releasedEarly)} released early, ${shown(rejected)} rejected, ${shown(duplicates)} duplicates` +
      (refused === 0 ? '' : `, ${shown(refused)} rows not sent`),
  )
}
