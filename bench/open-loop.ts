/**
 * Events by a fixed schedule into the raw topics, and how long after its scheduled instant each was received at the other end. Called by
 * the paced job, and by the baseline that has nothing in between.
 */
import type { Shutdown } from '../cli/shutdown.ts'
import { createSchedule } from '../producers/pace.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { fineClock } from './clock.ts'
import type { BenchEnvironment } from './environment.ts'
import { follow } from './follow.ts'
import type { GeneratorAnswer, GeneratorOrder } from './generator.ts'
import { startHelper } from './helper-process.ts'
import type { IsolatedPipeline } from './isolated-pipeline.ts'
import { sliceChunks } from './slice.ts'
import { type LatencyMs, latencyOf } from './statistics.ts'

export interface OpenLoopOptions {
  readonly definition: string
  readonly rate: number
  /** Transactions that are in the topics already. */
  readonly from: number
  /** Counted ones; the warm-up comes before them. */
  readonly seconds: number
  /** Topic that is followed, and the id of the event that a value of it is about. */
  readonly topic: string
  readonly idOf: (value: Buffer) => string
}

export interface OpenLoop {
  readonly latencyMs: LatencyMs
  /** Transactions received, of the counted seconds, by the span in which they were. */
  readonly eventsPerSecond: number
  readonly sendLagMs: LatencyMs
  /** Of the counted part, ms since 1970. */
  readonly fromMs: number
  readonly untilMs: number
  /** Transactions sent, warm-up included. */
  readonly sent: number
  readonly invalid: string | null
}

export const warmUpSeconds = 5
/** A generator that is later than this with one event in a hundred does not keep its schedule. */
export const sendLagMsMax = 100
const noProgressMaxMs = 60_000

export async function runOpenLoop(
  environment: BenchEnvironment,
  { namespace, plan }: IsolatedPipeline,
  options: OpenLoopOptions,
  shutdown: Shutdown,
): Promise<OpenLoop> {
  const { definition, rate, from, seconds, topic, idOf } = options
  const slice = { from, count: Math.min(rate * (warmUpSeconds + seconds), environment.table.rows - from) }
  const numbers = numbersOf([...sliceChunks(environment.table, plan, slice)].flat(), plan.scored)
  const receivedAtMs = new Map<string, number>()
  const following = await follow(environment.broker.data, [topic], (_, value, atMs) => {
    const id = idOf(value)
    if (numbers.has(id) && !receivedAtMs.has(id)) receivedAtMs.set(id, atMs)
  })
  shutdown.add('followed topic', following.close)
  const order = {
    kafkaBrokers: environment.config.kafkaBrokers,
    definition,
    namespace,
    seed: environment.table.seed,
    slice,
  }
  const generator = await startHelper<GeneratorOrder, GeneratorAnswer>('generator.ts', {
    ...order,
    eventsPerSecond: rate,
    warmUpSeconds,
  })
  shutdown.add('generator', generator.stop)

  const answer = await Promise.race([generator.begin(), following.ended])
  if (!answer) throw new Error('the followed topic was closed')
  let progress = { received: receivedAtMs.size, atMs: fineClock.elapsedMs() }
  while (receivedAtMs.size < numbers.size) {
    await Promise.race([fineClock.sleep(20), following.ended])
    const nowMs = fineClock.elapsedMs()
    if (receivedAtMs.size > progress.received) progress = { received: receivedAtMs.size, atMs: nowMs }
    if (nowMs - progress.atMs > noProgressMaxMs) {
      throw new PipelineError(
        'server_failed',
        `Nothing came out of ${topic} for ${noProgressMaxMs / 1_000} s: ${receivedAtMs.size} of ${numbers.size} events were received.`,
      )
    }
  }
  return { ...openLoopFigures(numbers, receivedAtMs, answer, rate), sent: numbers.size }
}

/** By id the number of each event of the scored stream, counted over all streams, as the schedule counts. */
function numbersOf(
  events: ReadonlyArray<{ readonly stream: string; readonly values: object }>,
  scored: { readonly name: string; readonly idField: string },
): Map<string, number> {
  const numbers = new Map<string, number>()
  events.forEach(({ stream, values }, number) => {
    if (stream === scored.name) numbers.set((values as Record<string, string>)[scored.idField]!, number)
  })
  return numbers
}

/** Pure. Events that were due within the warm-up do not count. */
export function openLoopFigures(
  numbers: ReadonlyMap<string, number>,
  receivedAtMs: ReadonlyMap<string, number>,
  { beganAtMs, sendLagMs }: Pick<GeneratorAnswer, 'beganAtMs' | 'sendLagMs'>,
  rate: number,
): Omit<OpenLoop, 'sent'> {
  const dueMs = createSchedule({ kind: 'rate', eventsPerSecond: rate })
  const latencies: number[] = []
  let untilMs = 0
  for (const [id, number] of numbers) {
    const due = dueMs(number, 0)
    if (due < warmUpSeconds * 1_000) continue
    const receivedAt = receivedAtMs.get(id)!
    latencies.push(receivedAt - (beganAtMs + due))
    untilMs = Math.max(untilMs, receivedAt)
  }
  const latencyMs = latencyOf(latencies)
  if (latencyMs === null || sendLagMs === null)
    throw new PipelineError('usage', 'The events end within the warm-up: lower --rate.')
  const fromMs = beganAtMs + warmUpSeconds * 1_000
  const isLate = sendLagMs.p99 > sendLagMsMax
  return {
    latencyMs,
    eventsPerSecond: (latencies.length * 1_000) / (untilMs - fromMs),
    sendLagMs,
    fromMs,
    untilMs,
    invalid: isLate
      ? `the load generator did not keep the schedule: ${sendLagMs.p99} ms late at p99 (limit ${sendLagMsMax} ms)`
      : null,
  }
}
