/**
 * Follows topics from their end, read_committed, and hands over each value with the instant at which it was received.
 * Called by the paced jobs.
 */
import type { BrokerData, FetchFrom } from '../runtime/broker.ts'
import { fineClock } from './clock.ts'

export interface Following {
  /** Rejects with what ended it; resolves after `close`. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

const limits = { maxWaitMs: 50, partitionBytesMax: 1_048_576 }

/** Resolves when the environment to begin at is known: what is committed from here on is seen. */
export async function follow(
  broker: BrokerData,
  topics: readonly string[],
  onValue: (topic: string, value: Buffer, receivedAtMs: number) => void,
): Promise<Following> {
  const counts = await broker.partitionCounts(topics)
  const partitions = topics.flatMap((topic) =>
    Array.from({ length: counts.get(topic) ?? 0 }, (_, partition) => ({ topic, partition })),
  )
  let positions: FetchFrom[] = (await broker.bounds(partitions)).map(({ topic, partition, end }) => {
    return { topic, partition, offset: end }
  })
  const fetcher = await broker.fetcher()
  let isClosed = false

  async function run(): Promise<void> {
    try {
      while (!isClosed) {
        const fetched = await fetcher.fetch(positions, limits)
        const receivedAtMs = fineClock.nowMs()
        for (const { topic, records } of fetched) for (const { value } of records) onValue(topic, value!, receivedAtMs)
        positions = fetched.map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
      }
    } finally {
      await fetcher.close()
    }
  }

  const ended = run()
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
