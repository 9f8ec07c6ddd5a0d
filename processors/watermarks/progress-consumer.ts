/**
 * Follows one partition of a repartition topic for its marks alone, where a process has tasks that feed it and none that reads it: what
 * the other sources have come to must be heard by every source. Opened with the tasks, read by the batch loop with its other fetches.
 */
import assert from 'node:assert/strict'
import type { FetchedPartition, FetchFrom } from '../../runtime/broker.ts'
import type { RepartitionPlan } from '../../schemas/plan/plan.ts'
import { observeWatermark, type SourceFrontiers } from './source-frontiers.ts'

export interface ProgressConsumer {
  wanted(): FetchFrom
  accept(fetched: FetchedPartition): void
}

/** `from`: the end of the partition. Marks before it were said to those who listened then; who needs them again asks. */
export function createProgressConsumer(
  repartition: RepartitionPlan,
  from: FetchFrom,
  sourceFrontiers: SourceFrontiers,
): ProgressConsumer {
  let { offset } = from
  return {
    wanted: () => ({ ...from, offset }),
    accept({ records, next, stableEnd }) {
      for (const { value } of records) {
        assert(value, 'a repartition topic has no tombstones')
        const decoded = repartition.codec.decode(value)
        if (decoded.kind === 'watermark') observeWatermark(decoded, sourceFrontiers)
      }
      offset = next
      if (next >= stableEnd) sourceFrontiers.caughtUp()
    },
  }
}
