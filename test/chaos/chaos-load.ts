/** The benchmark's events into the raw topics at a rate, as long as wanted, and a record of what was sent. Used by `run-chaos.ts`. */
import { type Slice, sliceChunks } from '../../bench/slice.ts'
import type { HandbookTable } from '../../pipelines/handbook.ts'
import { produce } from '../../producers/produce.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan } from '../../schemas/plan/plan.ts'

export interface SentEvent {
  readonly stream: string
  readonly id: string
  readonly timeMs: number
  readonly values: EventValues
}

export interface ChaosLoad {
  /** In the order of the source, which is that of event time. */
  readonly sent: readonly SentEvent[]
  /** Of the scored stream. */
  readonly scored: number
  /**
   * Resolves when nothing is on its way; nothing is sent until `goOn`. A broker that dies with half of a chunk leaves some partitions
   * behind others for seconds. What comes after that is late by its source, not by the pipeline.
   */
  hold(): Promise<void>
  resume(): void
  /** Resolves when all that was sent is acknowledged. */
  stop(): Promise<void>
  /** Rejects with what ended it; resolves after `stop`. */
  readonly ended: Promise<unknown>
}

export async function startLoad(
  broker: BrokerData,
  parts: {
    readonly plan: Plan
    readonly table: HandbookTable
    readonly eventsPerSecond: number
    readonly partitionsOf: (topic: string) => number
  },
): Promise<ChaosLoad> {
  const { plan, table, eventsPerSecond, partitionsOf } = parts
  const producer = await broker.producer()
  const stopping = new AbortController()
  const sent: SentEvent[] = []
  let scored = 0
  let sending: Promise<void> = Promise.resolve()
  let gate: { readonly open: Promise<void>; readonly resume: () => void } | null = null
  const all: Slice = { from: 0, count: Number.POSITIVE_INFINITY }

  const ended = produce(sliceChunks(table, plan, all), {
    streams: plan.streams,
    sink: {
      async send(records) {
        await gate?.open
        sending = producer.send(records)
        await sending
      },
    },
    partitionsOf,
    pace: { kind: 'rate', eventsPerSecond },
    clock: systemClock,
    signal: stopping.signal,
    onSent(event) {
      sent.push(event)
      if (event.stream === plan.scored.name) scored++
    },
  }).finally(producer.close)
  // The failure reaches the caller that awaits `ended`; until then it must not be an unhandled rejection.
  ended.catch(() => undefined)

  return {
    sent,
    get scored() {
      return scored
    },
    async hold() {
      let resume: () => void = () => undefined
      const open = new Promise<void>((resolve) => {
        resume = resolve
      })
      gate = { open, resume }
      await sending
    },
    resume() {
      gate?.resume()
      gate = null
    },
    async stop() {
      stopping.abort()
      await ended
    },
    ended,
  }
}
