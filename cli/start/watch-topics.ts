/**
 * Follows the predictions and dead letters of a pipeline from their end, read_committed, and hands each record over as it comes. Called by
 * `start` and `verify`, which compare what went in with what came out.
 */
import type { Broker, FetchFrom } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { DeadLetter, Prediction } from '../../schemas/wire/records.ts'

export interface WatchedTopics {
  /** Resolves once `close` was called; rejects with what ended the watching. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

export interface WatchOptions {
  readonly broker: Broker
  readonly plan: Plan
  readonly clock: Clock
  readonly from: 'start' | 'end'
  /** Partitions to leave unread must not exist: every prediction of the pipeline is handed over once. */
  readonly onPrediction: (prediction: Prediction, receivedMs: number) => void
  readonly onRejection: (rejection: DeadLetter) => void
}

const waitMaxMs = 50
const partitionBytesMax = 1_024 * 1_024

/** Resolves when the place to begin at is known: what is committed from here on is seen. */
export async function watchTopics(options: WatchOptions): Promise<WatchedTopics> {
  const { broker, plan, clock } = options
  const topics = [plan.predictions.topic, plan.rejected.topic]
  const counts = await broker.partitionCounts(topics)
  const partitions = topics.flatMap((topic) =>
    Array.from({ length: counts.get(topic) ?? 0 }, (_, partition) => ({ topic, partition })),
  )
  const bounds = await broker.bounds(partitions)
  let places: FetchFrom[] = bounds.map(({ topic, partition, start, end }) => {
    return { topic, partition, offset: options.from === 'start' ? start : end }
  })
  const fetcher = await broker.fetcher()
  let isClosed = false

  async function follow(): Promise<void> {
    try {
      while (!isClosed) {
        const fetched = await fetcher.fetch(places, { maxWaitMs: waitMaxMs, partitionBytesMax })
        const receivedMs = clock.nowMs()
        for (const { topic, records } of fetched) {
          for (const { value } of records) {
            if (!value) continue
            if (topic === plan.predictions.topic) options.onPrediction(plan.predictions.codec.decode(value), receivedMs)
            else options.onRejection(plan.rejected.codec.decode(value))
          }
        }
        places = fetched.map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
      }
    } finally {
      await fetcher.close()
    }
  }

  const ended = follow()
  // Whoever waits for `ended` hears of a failure; until somebody does, it must not count as unheard.
  ended.catch(() => undefined)
  return {
    ended,
    close() {
      isClosed = true
      return ended
    },
  }
}
