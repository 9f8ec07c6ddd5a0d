/**
 * `millrace verify`: the proof that live equals replay. A stream of the benchmark goes through real Kafka and Redis in a namespace of its
 * own; every prediction's vector is compared, bit for bit, with what the pure replay gives. Exit code 1 when anything differs.
 */

import { createReplay, type Replayed } from '../../processors/replay.ts'
import type { Pace } from '../../producers/pace.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { drawHandbook } from '../produce/sources.ts'
import { openEmbeddedGround } from '../start/embedded-environment.ts'
import type { Parts } from '../start/environment.ts'
import { createFeed } from '../start/feed.ts'
import { openOwnPipeline, tickUntil, withParts } from '../start/own-pipeline.ts'
import { openServerGround } from '../start/server-environment.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { requireTopics } from '../topics/topics.ts'
import { writeFigures } from '../whole-file.ts'

export interface VerifyCommandOptions {
  /** Without servers, inside this process. */
  readonly embedded?: boolean
  /** Event time that the stream ends before, ms since 1970. */
  readonly until: number
  readonly rate?: number
  readonly speed?: number
  readonly processes: number
  readonly seed?: number
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
  const { context, signal, giveUp } = parts
  const { clock, terminal } = context
  const namespace = `verify-${clock.nowMs().toString(36)}`
  const pipeline = await openOwnPipeline(
    definition,
    namespace,
    options.embedded ? openEmbeddedGround : openServerGround,
    () => drawHandbook(options.seed ?? 0),
    parts,
    // Flat out is a backlog: there is no live stream that a wait could hold up.
    { processes: options.processes, isReplay: paceOf(options).kind === 'flat out' },
  )
  const { plan, ground, watched, urls } = pipeline
  const partitionsOf = await requireTopics(ground.broker, [plan.scored.topic])
  const expected = createExpectation(plan, partitionsOf(plan.scored.topic), terminal)
  watched.onPrediction = ({ id, features }) => expected.compare(id, features)

  const feed = await createFeed(pipeline, options, context)
  const beganMs = clock.elapsedMs()
  let timeMs = feed.startMs
  let isSending = true
  const sent = feed
    .send({ fromMs: feed.startMs, untilMs: options.until }, paceOf(options), signal, (event) => {
      timeMs = event.timeMs
      expected.push(event.stream, event.values)
    })
    .catch(giveUp)
    .finally(() => {
      isSending = false
    })
  const tell = () =>
    terminal.err(`  ${shownTime(timeMs)}: ${shown(feed.sent)} sent, ${shown(watched.counts.predictions)} predicted`)
  const isOwed = () => feed.sent > watched.counts.predictions
  await tickUntil(() => !isSending && !isOwed(), tell, { isOwed, watched, clock, signal })
  await sent
  if (signal.aborted) return exitCodes.interrupted
  const metrics = await readMetrics(urls)
  const figures: VerifyFigures = {
    events: feed.sent,
    ...expected.finish(),
    late: metrics('millrace_late_events'),
    releasedEarly: metrics('millrace_released_early_events'),
    rejected: watched.counts.rejected,
    duplicates: metrics('millrace_duplicates_total'),
    seconds: Math.round((clock.elapsedMs() - beganMs) / 100) / 10,
  }
  print(figures, options.embedded ? 'this process' : 'Kafka and Redis', terminal)
  await writeFigures(options.json, figures)
  return figures.differing + figures.missing + figures.doubled === 0 ? exitCodes.done : exitCodes.failed
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

/** Both sides come as they come; a pair is compared and forgotten, so that only what is on its way is kept. */
function createExpectation(plan: Plan, partitions: number, terminal: Terminal): Expectation {
  const replay = createReplay(plan, { partitions })
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
    const told = differing.map(({ name }) => {
      const at = plan.features.findIndex((feature) => feature.name === name)
      return `${name} replay ${vector[at]}, live ${features[at]}`
    })
    terminal.err(`event ${id} differs: ${told.join('; ')}`)
  }

  function finish() {
    expect(replay.flush())
    counts.missing = replayed.size
    if (live.size > 0) {
      const [id] = live.keys()
      throw new PipelineError('server_failed', `${live.size} predictions have no event, the first is of ${id}.`)
    }
    return counts
  }

  return { push: (stream, values) => expect(replay.push(indexes.get(stream)!, values)), compare, finish }
}

/** Sums of the processes' own counts over their labels. */
async function readMetrics(urls: readonly string[]): Promise<(name: string) => number> {
  const texts = await Promise.all(urls.map(async (url) => (await fetch(`${url}/metrics`)).text()))
  const all = texts.flatMap((text) => text.split('\n'))
  return (name) => {
    const lines = all.filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }
}

function print(figures: VerifyFigures, ground: string, terminal: Terminal): void {
  const { events, compared, differing, missing, doubled, late, releasedEarly, rejected, duplicates, seconds } = figures
  terminal.out(
    `${shown(events)} events through ${ground} in ${seconds} s: ${shown(compared)} vectors compared with the replay, ` +
      `${shown(differing)} differing, ${shown(missing)} missing, ${shown(doubled)} doubled.`,
  )
  terminal.out(
    `  ${shown(late)} late, ${shown(releasedEarly)} released early, ${shown(rejected)} rejected, ${shown(duplicates)} duplicates`,
  )
}
