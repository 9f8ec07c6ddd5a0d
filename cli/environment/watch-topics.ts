/**
 * Consumes the predictions and dead letters of a pipeline, read_committed, and passes each record to a callback. Used by `start` and
 * `verify`, which compare what was sent with what came out.
 */
import type { Broker, FetchFrom } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { DeadLetter, Prediction } from '../../schemas/wire/records.ts'

export interface WatchedTopics {
  /** Resolves after `close`; rejects with the failure that stopped the consumer. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

export interface WatchOptions {
  readonly broker: Broker
  readonly plan: Plan
  readonly clock: Clock
  readonly from: 'start' | 'end'
  /** Called once for each prediction, of all partitions. */
  readonly onPrediction: (prediction: Prediction, receivedMs: number) => void
  readonly onRejection: (rejection: DeadLetter) => void
}

const waitMaxMs = 50
const partitionBytesMax = 1_024 * 1_024

/** Resolves once the start offsets are known: everything committed after that is delivered. */
export async function watchTopics(options: WatchOptions): Promise<WatchedTopics> {
  const { broker, plan, clock } = options
  const topics = [plan.predictions.topic, plan.rejected.topic]
  const counts = await broker.data.partitionCounts(topics)
  const partitions = topics.flatMap((topic) =>
    Array.from({ length: counts.get(topic) ?? 0 }, (_, partition) => ({ topic, partition })),
  )
  const bounds = await broker.data.bounds(partitions)
  let positions: FetchFrom[] = bounds.map(({ topic, partition, start, end }) => {
    return { topic, partition, offset: options.from === 'start' ? start : end }
  })
  const fetcher = await broker.data.fetcher()
  let isClosed = false

  async function follow(): Promise<void> {
    try {
      while (!isClosed) {
        const fetched = await fetcher.fetch(positions, { maxWaitMs: waitMaxMs, partitionBytesMax })
        const receivedMs = clock.nowMs()
        for (const { topic, records } of fetched) {
          for (const { value } of records) {
            if (!value) continue
            if (topic === plan.predictions.topic) options.onPrediction(plan.predictions.codec.decode(value), receivedMs)
            else options.onRejection(plan.rejected.codec.decode(value))
          }
        }
        positions = fetched.map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
      }
    } finally {
      await fetcher.close()
    }
  }

  const ended = follow()
  // The failure reaches the caller that awaits `ended`; until then it must not be an unhandled rejection.
  ended.catch(() => undefined)
  return {
    ended,
    close() {
      isClosed = true
      return ended
    },
  }
}
