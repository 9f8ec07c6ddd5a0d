/** One partition in memory: records are appended, committed ones are read, as a Kafka log does it. Used by the memory broker. */
import assert from 'node:assert/strict'
import type { LogRecord } from '../broker.ts'
import { createSegment, type Segment, type SegmentRecord } from './segment.ts'

/** What a log needs to know of a transaction: nobody reads on while it is open, and nobody sees what was aborted. */
export interface LogTransaction {
  readonly state: 'open' | 'committed' | 'aborted'
}

/** What all logs of a broker take together, bytes; each log keeps its share up to date. */
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
  /** Null while there is none beside the one that is written to. */
  readonly oldestSegment: OldestSegment | null
  append(record: SegmentRecord, transaction: LogTransaction | null): void
  /** The marker that ends a transaction takes an offset, too. Its state is what it ended with. */
  mark(transaction: LogTransaction): void
  /** Committed records from `from` on, at least one where there is any; `next` is past what was left out on the way. */
  read(from: number, bytesMax: number): { records: LogRecord[]; next: number }
  /** Offset of the first record appended at that time or later that was not aborted; at most the stable end. */
  offsetAt(timeMs: number): number
  /** Forgets everything before `start`, as retention does. */
  truncate(start: number): void
}

export function createPartitionLog(held: HeldBytes): PartitionLog {
  let start = 0
  /** Oldest first; only the last one is written to. */
  let segments: Segment[] = []
  /** Offsets of each open transaction. */
  const open = new Map<LogTransaction, number[]>()

  function end(): number {
    const last = segments.at(-1)
    return last ? last.start + last.count : start
  }

  function stableEnd(): number {
    let stable = end()
    for (const [first] of open.values()) if (first! < stable) stable = first!
    return stable
  }

  function writable(): Segment {
    const last = segments.at(-1)
    if (last && !last.isFull) return last
    const next = createSegment(end())
    segments.push(next)
    held.bytes += next.bytes
    return next
  }

  function write(how: (segment: Segment) => void): void {
    const segment = writable()
    const before = segment.bytes
    how(segment)
    held.bytes += segment.bytes - before
  }

  function append(record: SegmentRecord, transaction: LogTransaction | null): void {
    if (transaction) {
      const offsets = open.get(transaction) ?? []
      offsets.push(end())
      open.set(transaction, offsets)
    }
    write((segment) => segment.append(record))
  }

  function mark(transaction: LogTransaction): void {
    assert(transaction.state !== 'open', 'only what has ended is marked')
    write((segment) => segment.appendMarker())
    if (transaction.state === 'aborted') for (const offset of open.get(transaction) ?? []) hide(offset)
    open.delete(transaction)
  }

  function hide(offset: number): void {
    const segment = segments[indexOf(offset)]!
    segment.hide(offset - segment.start)
  }

  /** Of the segment that holds the offset: the last that begins at or before it. */
  function indexOf(offset: number): number {
    let low = 0
    let high = segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (segments[middle]!.start <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  function read(from: number, bytesMax: number): { records: LogRecord[]; next: number } {
    const records: LogRecord[] = []
    const stable = stableEnd()
    let bytes = 0
    let next = from
    for (let at = indexOf(from); next < stable; next++) {
      if (next >= segments[at]!.start + segments[at]!.count) at++
      const record = segments[at]!.record(next - segments[at]!.start)
      if (record === null) continue
      bytes += (record.key?.length ?? 0) + (record.value?.length ?? 0)
      if (records.length > 0 && bytes > bytesMax) break
      records.push(record)
    }
    return { records, next }
  }

  function offsetAt(timeMs: number): number {
    const stable = stableEnd()
    for (const segment of segments) {
      for (let at = 0; at < segment.count && segment.start + at < stable; at++) {
        const record = segment.record(at)
        if (record !== null && record.appendedAtMs >= timeMs) return segment.start + at
      }
    }
    return stable
  }

  function truncate(to: number): void {
    assert(
      to >= start && to <= stableEnd(),
      `only stable records can be forgotten: ${start} to ${stableEnd()}, not ${to}`,
    )
    // The last segment stays, so that the log goes on where it ends.
    const kept = segments.filter((segment, at) => segment.start + segment.count > to || at === segments.length - 1)
    for (const segment of segments) if (!kept.includes(segment)) held.bytes -= segment.bytes
    segments = kept
    start = to
  }

  return {
    get start() {
      return start
    },
    get end() {
      return end()
    },
    get stableEnd() {
      return stableEnd()
    },
    get oldestSegment() {
      const [first, next] = segments
      return first && next ? { end: next.start, newestMs: first.newestMs } : null
    },
    append,
    mark,
    read,
    offsetAt,
    truncate,
  }
}
