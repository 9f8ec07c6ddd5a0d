/**
 * Reads one partition of a repartition topic for its watermark records alone, in a process that has tasks that write to the topic and none
 * that reads it: every writer must observe the frontiers of the others. Created when the tasks are opened, polled by the batch loop with
 * its other fetches.
 */
import assert from 'node:assert/strict'
import type { FetchedPartition, FetchFrom } from '../../runtime/broker.ts'
import type { RepartitionPlan } from '../../schemas/plan/plan.ts'
import { observeWatermark, type SourceFrontiers } from './source-frontiers.ts'

export interface ProgressConsumer {
  wanted(): FetchFrom
  accept(fetched: FetchedPartition): void
}

/** `from`: the end of the partition. What was reported before is requested again by the progress exchange. */
export function createProgressConsumer(
  repartition: RepartitionPlan,
  from: FetchFrom,
  sourceFrontiers: SourceFrontiers,
): ProgressConsumer {
  let { offset } = from
  return {
    wanted: () => ({ ...from, offset }),
    accept({ records, next, stableEnd }) {
      const { bytes, valueStarts, valueEnds } = records
      for (let i = 0; i < records.length; i++) {
        if (repartition.codec.streamOf(bytes, valueStarts[i]!, valueEnds[i]!) >= 0) continue
        const { value } = records.at(i)
        assert(value, 'a repartition topic has no tombstones')
        const decoded = repartition.codec.decode(value)
        if (decoded.kind === 'watermark') observeWatermark(decoded, sourceFrontiers)
      }
      offset = next
      if (next >= stableEnd) sourceFrontiers.setCaughtUp()
    },
  }
}
