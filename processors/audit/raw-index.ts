/**
 * How far the comparison with the replay has read a partition, and where it has to read again for a window: records go in once, in offset
 * order, and the offset goes out before which everything is earlier than an instant. Plain state; called by `replay-rounds.ts`.
 */
import type { TopicPartition } from '../../runtime/broker.ts'

export interface Checkpoint {
  readonly offset: number
  /** Greatest event time of valid events before the offset: what lateness is relative to. */
  readonly maxBefore: number
  readonly appendedAtMs: number
}

export interface RawIndex extends TopicPartition {
  /** First offset that was not read. */
  next: number
  /** Greatest event time read. */
  max: number
  /** Event time up to which there may be events that were removed before they were read; −infinity where there are none. */
  unreadUntil: number
  /** What precedes the next record was removed before it was read. */
  hasGap: boolean
  checkpoints: Checkpoint[]
  /** A checkpoint every so many records; doubled where there are too many. */
  stride: number
  records: number
}

const checkpointsMax = 8_192

export function createRawIndex({ topic, partition }: TopicPartition): RawIndex {
  const none = Number.NEGATIVE_INFINITY
  const nothing = { next: 0, max: none, unreadUntil: none, hasGap: false, checkpoints: [], stride: 1, records: 0 }
  return { topic, partition, ...nothing }
}

/** `time`: of the event; null where the record is not a valid one. */
export function indexRecord(index: RawIndex, offset: number, appendedAtMs: number, time: number | null): void {
  const { checkpoints } = index
  if (index.records++ % index.stride === 0) checkpoints.push({ offset, maxBefore: index.max, appendedAtMs })
  if (checkpoints.length > checkpointsMax) {
    index.checkpoints = checkpoints.filter((_, i) => i % 2 === 0)
    index.stride *= 2
  }
  if (time !== null && time > index.max) index.max = time
}

/** Where to read from so that no event at or after `time` is missed; null where nothing was read. */
export function checkpointBefore({ checkpoints }: RawIndex, time: number): Checkpoint | null {
  return lastWhere(checkpoints, ({ maxBefore }) => maxBefore < time) ?? checkpoints[0] ?? null
}

/** Where to read from so that no record appended at or after an instant is missed; null where nothing was read. */
export function checkpointOfAppend({ checkpoints }: RawIndex, appendedAtMs: number): Checkpoint | null {
  return lastWhere(checkpoints, (checkpoint) => checkpoint.appendedAtMs < appendedAtMs) ?? checkpoints[0] ?? null
}

/** By halves, as it is asked for every event: both measures grow with the offsets. */
function lastWhere(
  checkpoints: readonly Checkpoint[],
  isBefore: (checkpoint: Checkpoint) => boolean,
): Checkpoint | undefined {
  let [low, high] = [0, checkpoints.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (isBefore(checkpoints[middle]!)) low = middle + 1
    else high = middle
  }
  return checkpoints[low - 1]
}

/** No more than the greatest event time of the records that were appended before. */
export function maxAtAppend(index: RawIndex, appendedAtMs: number): number {
  return checkpointOfAppend(index, appendedAtMs)?.maxBefore ?? Number.NEGATIVE_INFINITY
}

/** Retention has removed what is before `start`. */
export function forgetBefore(index: RawIndex, start: number): void {
  if (start > index.next) {
    index.next = start
    index.hasGap = true
  }
  if (index.checkpoints.length === 0 || index.checkpoints[0]!.offset >= start) return
  index.checkpoints = index.checkpoints.filter(({ offset }) => offset >= start)
  index.unreadUntil = Math.max(index.unreadUntil, index.checkpoints[0]?.maxBefore ?? index.max)
}
