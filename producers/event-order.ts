/**
 * The rows of one source in, how far they are out of the order of event time out; called by whatever opens a source, before its first
 * row is sent. Rows that are no events have no place of their own: they go with the row before them.
 */
import { formatDuration } from '../schemas/kernel/duration.ts'
import type { CheckedRow } from './prepare.ts'

/** A row that comes later than its stream allows. */
export interface OutOfOrder {
  readonly location: string
  readonly timeMs: number
  /** The latest row before it. */
  readonly after: { readonly location: string; readonly timeMs: number }
  readonly stream: string
  readonly disorderMs: number
}

export interface OrderWatch {
  /** Event time of the latest row so far; −infinity before the first event. */
  readonly latestMs: number
  /** Every row came at or after those before it. */
  readonly isSorted: boolean
  /** Rows beyond the declared disorder of their streams, and the first of them. */
  readonly outOfOrder: number
  readonly first: OutOfOrder | null
  add(row: CheckedRow, location: string): void
}

export function createOrderWatch(): OrderWatch {
  let latest = { location: '', timeMs: Number.NEGATIVE_INFINITY }
  let isSorted = true
  let outOfOrder = 0
  let first: OutOfOrder | null = null
  return {
    get latestMs() {
      return latest.timeMs
    },
    get isSorted() {
      return isSorted
    },
    get outOfOrder() {
      return outOfOrder
    },
    get first() {
      return first
    },
    add(row, location) {
      if (row.kind !== 'event') return
      const { timeMs, stream } = row
      if (timeMs >= latest.timeMs) {
        latest = { location, timeMs }
        return
      }
      isSorted = false
      if (latest.timeMs - timeMs <= stream.disorderMs) return
      outOfOrder++
      first ??= { location, timeMs, after: latest, stream: stream.name, disorderMs: stream.disorderMs }
    },
  }
}

/** Whole sentences: where, how far, and what was declared. */
export function outOfOrderText(
  name: string,
  { location, timeMs, after, stream, disorderMs }: OutOfOrder,
  count: number,
): string {
  const instant = (ms: number) => new Date(ms).toISOString()
  const more = `, the first of ${count.toLocaleString('en-US')} such rows`
  return (
    `${name} is not in the order of event time: ${location} (${instant(timeMs)}) is ${formatDuration(after.timeMs - timeMs)} before ` +
    `${after.location} (${instant(after.timeMs)})${more}, and the stream ${stream} declares a disorder of ${formatDuration(disorderMs)}.`
  )
}
