/**
 * Follows one partition of a repartition topic for its marks alone, where a process has tasks that feed it and none that reads it: what
 * the other sources have come to must be heard by every source. Opened with the tasks, read by the batch loop with its other fetches.
 */
import assert from 'node:assert/strict'
import type { FetchedPartition, FetchFrom } from '../../runtime/broker.ts'
import type { HopPlan } from '../../schemas/plan/plan.ts'
import { type Hearing, hearMark } from './source-frontiers.ts'

export interface Listener {
  wanted(): FetchFrom
  accept(fetched: FetchedPartition): void
}

/** `from`: the end of the partition. Marks before it were said to those who listened then; who needs them again asks. */
export function createListener(hop: HopPlan, from: FetchFrom, hearing: Hearing): Listener {
  let { offset } = from
  return {
    wanted: () => ({ ...from, offset }),
    accept({ records, next, stableEnd }) {
      for (const { value } of records) {
        assert(value, 'a repartition topic has no tombstones')
        const decoded = hop.codec.decode(value)
        if (decoded.kind === 'mark') hearMark(decoded, hearing)
      }
      offset = next
      if (next >= stableEnd) hearing.caughtUp()
    },
  }
}
