/**
 * The load generator, a process of its own: events into the raw topics by a schedule that is fixed by its first event and never shifted.
 * Started by `paced.ts` and `baseline-kafka.ts` through `helper-process.ts`; answers when it began and how late it was.
 */
import { openBroker } from '../cli/context.ts'
import { loadPlan } from '../cli/load-plan.ts'
import { requireTopics } from '../cli/topics/requirements.ts'
import { generateHandbook } from '../pipelines/handbook.ts'
import { produce } from '../producers/produce.ts'
import { parseConfig } from '../runtime/config/config.ts'
import { fineClock } from './clock.ts'
import { serveHelper } from './helper-process.ts'
import { type Slice, sliceChunks } from './slice.ts'
import { type LatencyMs, latencyOf } from './statistics.ts'

export interface GeneratorOrder {
  readonly kafkaBrokers: readonly string[]
  readonly definition: string
  readonly namespace: string
  readonly seed: number
  readonly slice: Slice
  readonly eventsPerSecond: number
  /** Events due before do not count: the first send also connects. */
  readonly warmUpSeconds: number
}

export interface GeneratorAnswer {
  /** When the first event was due, ms since 1970; event n, counted over all streams, was due n / rate seconds later. */
  readonly beganAtMs: number
  readonly events: number
  /** From when an event was due to when it was handed to the producer, of the events that count. */
  readonly sendLagMs: LatencyMs | null
}

serveHelper<GeneratorOrder, GeneratorAnswer>(async (order) => {
  const plan = await loadPlan(order.definition, order)
  const broker = openBroker({ ...parseConfig(process.env), kafkaBrokers: order.kafkaBrokers })
  const partitionsOf = await requireTopics(
    broker.data,
    plan.streams.map(({ topic }) => topic),
  )
  const producer = await broker.data.producer()
  const chunks = [...sliceChunks(generateHandbook({ seed: order.seed }), plan, order.slice)]
  return async () => {
    let beganAtMs: number | null = null
    const lagsMs: number[] = []
    const { events } = await produce(chunks, {
      streams: plan.streams,
      sink: producer,
      partitionsOf,
      pace: { kind: 'rate', eventsPerSecond: order.eventsPerSecond },
      clock: fineClock,
      signal: new AbortController().signal,
      onSent(_, scheduledMs) {
        beganAtMs ??= scheduledMs
        if (scheduledMs - beganAtMs >= order.warmUpSeconds * 1_000) lagsMs.push(fineClock.nowMs() - scheduledMs)
      },
    })
    await broker.close()
    return { beganAtMs: beganAtMs!, events, sendLagMs: latencyOf(lagsMs) }
  }
})
