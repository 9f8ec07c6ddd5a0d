/** One partition in memory: records are appended, committed ones are read, as a Kafka log does it. Used by the memory broker. */
import assert from 'node:assert/strict'
import type { LogRecord } from '../broker.ts'
import { type Records, recordsOf } from '../records.ts'
import { createSegment, type Segment, type SegmentRecord } from './segment.ts'

/** The state of a transaction as a log needs it: readers stop before an open one, and skip the records of an aborted one. */
export interface LogTransaction {
  readonly state: 'open' | 'committed' | 'aborted'
}

/** What all logs of a broker take together, bytes; each log adds and subtracts its own. */
export interface HeldBytes {
  bytes: number
}

/** The oldest full segment of a log: what retention removes next. */
export interface OldestSegment {
  /** First offset after it. */
  readonly end: number
  /** When its last record was appended, ms since 1970. */
  readonly newestMs: number
}

export interface PartitionLog {
  readonly start: number
  readonly end: number
  /** First offset of an open transaction, else the end. */
  readonly stableEnd: number
  /** Null while the only segment is the one that is written to. */
  readonly oldestSegment: OldestSegment | null
  append(record: SegmentRecord, transaction: LogTransaction | null): void
  /** The marker that ends a transaction takes an offset, too. Its state is what it ended with. */
  marker(transaction: LogTransaction): void
  /** Committed records from `from` on, at least one where there is any; `next` is past what was skipped between them. */
  read(from: number, bytesMax: number): { records: Records; next: number }
  /** Offset of the first record appended at that time or later that was not aborted; at most the stable end. */
  offsetAt(timeMs: number): number
  /** Removes everything before `start`, as retention does. */
  truncate(start: number): void
}

interface LogState {
  readonly held: HeldBytes
  start: number
  /** Oldest first; only the last one is written to. */
  segments: Segment[]
  /** Offsets of each open transaction. */
  readonly open: Map<LogTransaction, number[]>
}

export function createPartitionLog(held: HeldBytes): PartitionLog {
  const log: LogState = { held, start: 0, segments: [], open: new Map() }
  return {
    get start() {
      return log.start
    },
    get end() {
      return endOf(log)
    },
    get stableEnd() {
      return stableEndOf(log)
    },
    get oldestSegment() {
      const [first, next] = log.segments
      return first && next ? { end: next.start, newestMs: first.newestMs } : null
    },
    append: (record, transaction) => append(log, record, transaction),
    marker: (transaction) => marker(log, transaction),
    read: (from, bytesMax) => read(log, from, bytesMax),
    offsetAt: (timeMs) => offsetAt(log, timeMs),
    truncate: (to) => truncate(log, to),
  }
}

function endOf({ segments, start }: LogState): number {
  const last = segments.at(-1)
  return last ? last.start + last.count : start
}

function stableEndOf(log: LogState): number {
  let stable = endOf(log)
  for (const [first] of log.open.values()) if (first! < stable) stable = first!
  return stable
}

function append(log: LogState, record: SegmentRecord, transaction: LogTransaction | null): void {
  if (transaction) {
    const offsets = log.open.get(transaction) ?? []
    offsets.push(endOf(log))
    log.open.set(transaction, offsets)
  }
  write(log, (segment) => segment.append(record))
}

function marker(log: LogState, transaction: LogTransaction): void {
  assert(transaction.state !== 'open', 'only what has ended is marked')
  write(log, (segment) => segment.appendMarker())
  if (transaction.state === 'aborted') for (const offset of log.open.get(transaction) ?? []) hide(log, offset)
  log.open.delete(transaction)
}

function write(log: LogState, writeTo: (segment: Segment) => void): void {
  const segment = writableSegment(log)
  const before = segment.bytes
  writeTo(segment)
  log.held.bytes += segment.bytes - before
}

function writableSegment(log: LogState): Segment {
  const last = log.segments.at(-1)
  if (last && !last.isFull) return last
  const next = createSegment(endOf(log))
  log.segments.push(next)
  log.held.bytes += next.bytes
  return next
}

function hide({ segments }: LogState, offset: number): void {
  const segment = segments[segmentIndex(segments, offset)]!
  segment.hide(offset - segment.start)
}

/** Of the segment that holds the offset: the last that begins at or before it. */
function segmentIndex(segments: readonly Segment[], offset: number): number {
  let low = 0
  let high = segments.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (segments[middle]!.start <= offset) low = middle
    else high = middle - 1
  }
  return low
}

function read(log: LogState, from: number, bytesMax: number): { records: Records; next: number } {
  const { segments } = log
  const records: LogRecord[] = []
  const stable = stableEndOf(log)
  let bytes = 0
  let next = from
  for (let at = segmentIndex(segments, from); next < stable; next++) {
    if (next >= segments[at]!.start + segments[at]!.count) at++
    const record = segments[at]!.record(next - segments[at]!.start)
    if (record === null) continue
    bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
    if (records.length > 0 && bytes > bytesMax) break
    records.push(record)
  }
  return { records: recordsOf(records), next }
}

function offsetAt(log: LogState, timeMs: number): number {
  const stable = stableEndOf(log)
  for (const segment of log.segments) {
    for (let at = 0; at < segment.count && segment.start + at < stable; at++) {
      const record = segment.record(at)
      if (record !== null && record.appendedAtMs >= timeMs) return segment.start + at
    }
  }
  return stable
}

function truncate(log: LogState, to: number): void {
  const { start, segments, held } = log
  const stableEnd = stableEndOf(log)
  assert(to >= start && to <= stableEnd, `only stable records can be removed: ${start} to ${stableEnd}, not ${to}`)
  // The last segment stays, so that the next record gets the next offset.
  const kept = segments.filter((segment, at) => segment.start + segment.count > to || at === segments.length - 1)
  for (const segment of segments) if (!kept.includes(segment)) held.bytes -= segment.bytes
  log.segments = kept
  log.start = to
}
