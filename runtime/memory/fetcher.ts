/** The fetcher of the memory broker: offsets come in, committed records of the partition logs go out; opened by `broker.ts`. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { FetchedPartition, Fetcher, FetchFrom } from '../broker.ts'
import { type Cluster, nextExpiryMs, settle } from './cluster.ts'
import type { Topics } from './topics.ts'

export function createMemoryFetcher(cluster: Cluster): Fetcher {
  const { clock, topics, waiting } = cluster
  let isBusy = false
  let closed: Promise<void> | null = null

  const fetcher: Fetcher = {
    async fetch(from, { maxWaitMs, partitionBytesMax }) {
      assert(!isBusy, 'one fetch at a time')
      if (from.length === 0) return []
      const fetchAll = () => from.map((wanted) => fetchPartition(topics, wanted, partitionBytesMax))
      isBusy = true
      try {
        // Without a turn of the event loop, a caller that always finds something would block everything else.
        await clock.turn()
        const findNew = () => {
          if (closed) throw new PipelineError('kafka_unreachable', 'This fetcher is closed')
          settle(cluster)
          const fetched = fetchAll()
          return fetched.some(({ next, from }) => next > from) ? fetched : null
        }
        const untilMs = clock.elapsedMs() + maxWaitMs
        return (await waiting.until(findNew, { untilMs, wakeAtMs: () => nextExpiryMs(cluster) })) ?? fetchAll()
      } finally {
        isBusy = false
      }
    },
    close() {
      closed ??= Promise.resolve()
      cluster.openParts.delete(fetcher)
      waiting.changed()
      return closed
    },
  }
  return fetcher
}

function fetchPartition(
  topics: Topics,
  { topic, partition, offset }: FetchFrom,
  partitionBytesMax: number,
): FetchedPartition {
  const log = topics.log({ topic, partition })
  const { start, end, stableEnd } = log
  if (offset < start || offset > end) {
    const why = offset < start ? `is gone: the log starts at ${start}` : `lies beyond the end of the log at ${end}`
    throw new PipelineError('log_truncated', `Offset ${offset} of ${topic}, partition ${partition}, ${why}`, {
      details: { topic, partition, offset, start, end },
    })
  }
  return { topic, partition, from: offset, ...log.read(offset, partitionBytesMax), stableEnd, end, age: 0 }
}
