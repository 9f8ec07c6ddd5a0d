/**
 * A run of consecutive entries of one partition in memory, packed: keys and values in one buffer, everything else in typed arrays, so that
 * a million records are few objects for the garbage collector. Written and read by `partition-log.ts`.
 */
import assert from 'node:assert/strict'
import type { LogRecord } from '../broker.ts'

export type SegmentRecord = Omit<LogRecord, 'offset'>

export interface Segment {
  /** Offset of its first entry. */
  readonly start: number
  readonly count: number
  readonly isFull: boolean
  /** Approximate size in memory. */
  readonly bytes: number
  /** When its last record was appended, ms since 1970; −∞ where there is none. */
  readonly newestMs: number
  append(record: SegmentRecord): void
  /** An entry that is never read: it only takes an offset. */
  appendMarker(): void
  /** Hides a record from readers: its transaction was aborted. */
  hide(index: number): void
  /** Null for a marker or a hidden record. Key and value are views of the segment's own memory and must not be written to. */
  record(index: number): LogRecord | null
}

const entriesMax = 1_024
/** A segment with this many bytes is full, however few entries it has; the last record may exceed the limit. */
const bytesMax = 1_048_576
const firstCapacity = 4_096
const bytesOfEntry = Float64Array.BYTES_PER_ELEMENT + 2 * Uint32Array.BYTES_PER_ELEMENT + 1

const flags = { unread: 1, nullKey: 2, nullValue: 4 } as const
const noHeaders: LogRecord['headers'] = Object.freeze({})

interface SegmentState {
  readonly start: number
  readonly times: Float64Array
  /** Where the key ends, and where the value ends and the next key begins. */
  readonly keyEnds: Uint32Array
  readonly valueEnds: Uint32Array
  readonly markers: Uint8Array
  /** By index; few records have headers. */
  readonly headersOf: Map<number, LogRecord['headers']>
  packed: Buffer
  used: number
  headerBytes: number
  count: number
  newestMs: number
}

export function createSegment(start: number): Segment {
  const segment: SegmentState = {
    start,
    times: new Float64Array(entriesMax),
    keyEnds: new Uint32Array(entriesMax),
    valueEnds: new Uint32Array(entriesMax),
    markers: new Uint8Array(entriesMax),
    headersOf: new Map(),
    packed: Buffer.allocUnsafeSlow(0),
    used: 0,
    headerBytes: 0,
    count: 0,
    newestMs: Number.NEGATIVE_INFINITY,
  }
  return {
    start,
    get count() {
      return segment.count
    },
    get isFull() {
      return isFull(segment)
    },
    get bytes() {
      return segment.packed.length + entriesMax * bytesOfEntry + segment.headerBytes
    },
    get newestMs() {
      return segment.newestMs
    },
    append: (record) => append(segment, record),
    appendMarker: () => appendMarker(segment),
    hide(index) {
      segment.markers[index]! |= flags.unread
    },
    record: (index) => recordAt(segment, index),
  }
}

function isFull({ count, used }: SegmentState): boolean {
  return count === entriesMax || used >= bytesMax
}

function append(segment: SegmentState, { key, value, headers, appendedAtMs }: SegmentRecord): void {
  assert(!isFull(segment), 'a full segment takes nothing more')
  reserve(segment, (key?.length ?? 0) + (value?.length ?? 0))
  segment.used += key?.copy(segment.packed, segment.used) ?? 0
  segment.keyEnds[segment.count] = segment.used
  segment.used += value?.copy(segment.packed, segment.used) ?? 0
  if (Object.keys(headers).length > 0) {
    segment.headersOf.set(segment.count, copyOf(headers))
    segment.headerBytes += bytesOfHeaders(headers)
  }
  segment.newestMs = appendedAtMs
  finishEntry(segment, (key === null ? flags.nullKey : 0) | (value === null ? flags.nullValue : 0), appendedAtMs)
}

function appendMarker(segment: SegmentState): void {
  assert(!isFull(segment), 'a full segment takes nothing more')
  segment.keyEnds[segment.count] = segment.used
  finishEntry(segment, flags.unread, Number.NaN)
}

function reserve(segment: SegmentState, bytes: number): void {
  const { packed, used } = segment
  if (used + bytes <= packed.length) return
  segment.packed = Buffer.allocUnsafeSlow(Math.max(firstCapacity, packed.length * 2, used + bytes))
  packed.copy(segment.packed, 0, 0, used)
}

function finishEntry(segment: SegmentState, marker: number, atMs: number): void {
  segment.times[segment.count] = atMs
  segment.valueEnds[segment.count] = segment.used
  segment.markers[segment.count] = marker
  segment.count++
  const { packed, used } = segment
  // A full segment never grows, so its spare memory is given back.
  if (isFull(segment) && used < packed.length) {
    segment.packed = Buffer.allocUnsafeSlow(used)
    packed.copy(segment.packed, 0, 0, used)
  }
}

function recordAt(
  { start, times, keyEnds, valueEnds, markers, headersOf, packed }: SegmentState,
  index: number,
): LogRecord | null {
  const marker = markers[index]!
  if ((marker & flags.unread) !== 0) return null
  const from = index === 0 ? 0 : valueEnds[index - 1]!
  const keyEnd = keyEnds[index]!
  return {
    offset: start + index,
    appendedAtMs: times[index]!,
    key: (marker & flags.nullKey) !== 0 ? null : packed.subarray(from, keyEnd),
    value: (marker & flags.nullValue) !== 0 ? null : packed.subarray(keyEnd, valueEnds[index]!),
    headers: headersOf.get(index) ?? noHeaders,
  }
}

function copyOf(headers: LogRecord['headers']): LogRecord['headers'] {
  return Object.freeze(Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)])))
}

function bytesOfHeaders(headers: LogRecord['headers']): number {
  return Object.entries(headers).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + value.length, 0)
}
