/**
 * Retention by size of the memory broker: the oldest full segments of all partitions are removed first, except what a group has not
 * consumed yet and what is kept forever. Called before a write for which there is no room.
 */
import type { TopicPartition } from '../broker.ts'
import type { HeldBytes, PartitionLog } from './partition-log.ts'

export interface RetainedLog extends TopicPartition {
  readonly log: PartitionLog
  readonly isKeptForEver: boolean
}

/**
 * Removes segments until at most `bytesWanted` are held, or nothing more can be removed. `consumedTo`: the offset below which no group
 * needs the partition any more.
 */
export function removeOldest(
  logs: readonly RetainedLog[],
  held: HeldBytes,
  bytesWanted: number,
  consumedTo: (topicPartition: TopicPartition) => number,
): void {
  const removable = logs
    .filter(({ isKeptForEver }) => !isKeptForEver)
    .map((retained) => ({ log: retained.log, floor: Math.min(retained.log.stableEnd, consumedTo(retained)) }))
  while (held.bytes > bytesWanted) {
    let oldest: { readonly log: PartitionLog; readonly end: number; readonly newestMs: number } | null = null
    for (const { log, floor } of removable) {
      const segment = log.oldestSegment
      if (!segment || segment.end > floor) continue
      if (oldest === null || segment.newestMs < oldest.newestMs) oldest = { log, ...segment }
    }
    if (oldest === null) return
    oldest.log.truncate(oldest.end)
  }
}
