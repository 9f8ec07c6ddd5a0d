/**
 * A run of neighbouring entries of one partition in memory, packed: keys and values lie in one buffer, all else in typed arrays, so that a
 * million records are few objects for the garbage collector. Written and read by `partition-log.ts`.
 */
import assert from 'node:assert/strict'
import type { LogRecord } from '../broker.ts'

export type SegmentRecord = Omit<LogRecord, 'offset'>

export interface Segment {
  /** Offset of its first entry. */
  readonly start: number
  readonly count: number
  readonly isFull: boolean
  /** What it takes in memory, about. */
  readonly bytes: number
  /** When its last record was appended, ms since 1970; −∞ where there is none. */
  readonly newestMs: number
  append(record: SegmentRecord): void
  /** An entry that nobody reads: it only takes an offset. */
  appendMarker(): void
  /** Nobody reads this record any more: its transaction was aborted. */
  hide(index: number): void
  /** Null: a marker or hidden. Key and value lie in the segment's own memory and must not be written to. */
  record(index: number): LogRecord | null
}

const entriesMax = 1_024
/** A segment with more is full, whatever it counts: one large value more is what it may hold at most. */
const bytesMax = 1_048_576
const firstCapacity = 4_096
const bytesOfEntry = Float64Array.BYTES_PER_ELEMENT + 2 * Uint32Array.BYTES_PER_ELEMENT + 1

const flags = { unread: 1, nullKey: 2, nullValue: 4 } as const
const noHeaders: LogRecord['headers'] = Object.freeze({})

export function createSegment(start: number): Segment {
  const times = new Float64Array(entriesMax)
  /** Where the key ends, and where the value ends and the next key begins. */
  const keyEnds = new Uint32Array(entriesMax)
  const valueEnds = new Uint32Array(entriesMax)
  const marks = new Uint8Array(entriesMax)
  /** Few records have any. By index. */
  const headersOf = new Map<number, LogRecord['headers']>()
  let packed = Buffer.allocUnsafeSlow(0)
  let used = 0
  let headerBytes = 0
  let count = 0
  let newestMs = Number.NEGATIVE_INFINITY

  const isFull = () => count === entriesMax || used >= bytesMax

  function makeRoom(bytes: number): void {
    if (used + bytes <= packed.length) return
    const wider = Buffer.allocUnsafeSlow(Math.max(firstCapacity, packed.length * 2, used + bytes))
    packed.copy(wider, 0, 0, used)
    packed = wider
  }

  function end(mark: number, atMs: number): void {
    times[count] = atMs
    valueEnds[count] = used
    marks[count] = mark
    count++
    // Nothing is added to a full one: what it has in reserve is given back.
    if (isFull() && used < packed.length) {
      const exact = Buffer.allocUnsafeSlow(used)
      packed.copy(exact, 0, 0, used)
      packed = exact
    }
  }

  function append({ key, value, headers, appendedAtMs }: SegmentRecord): void {
    assert(!isFull(), 'a full segment takes nothing more')
    makeRoom((key?.length ?? 0) + (value?.length ?? 0))
    used += key?.copy(packed, used) ?? 0
    keyEnds[count] = used
    used += value?.copy(packed, used) ?? 0
    if (Object.keys(headers).length > 0) {
      headersOf.set(count, copyOf(headers))
      headerBytes += bytesOfHeaders(headers)
    }
    newestMs = appendedAtMs
    end((key === null ? flags.nullKey : 0) | (value === null ? flags.nullValue : 0), appendedAtMs)
  }

  function appendMarker(): void {
    assert(!isFull(), 'a full segment takes nothing more')
    keyEnds[count] = used
    end(flags.unread, Number.NaN)
  }

  function record(index: number): LogRecord | null {
    const mark = marks[index]!
    if ((mark & flags.unread) !== 0) return null
    const from = index === 0 ? 0 : valueEnds[index - 1]!
    const keyEnd = keyEnds[index]!
    return {
      offset: start + index,
      appendedAtMs: times[index]!,
      key: (mark & flags.nullKey) !== 0 ? null : packed.subarray(from, keyEnd),
      value: (mark & flags.nullValue) !== 0 ? null : packed.subarray(keyEnd, valueEnds[index]!),
      headers: headersOf.get(index) ?? noHeaders,
    }
  }

  return {
    start,
    get count() {
      return count
    },
    get isFull() {
      return isFull()
    },
    get bytes() {
      return packed.length + entriesMax * bytesOfEntry + headerBytes
    },
    get newestMs() {
      return newestMs
    },
    append,
    appendMarker,
    hide(index) {
      marks[index]! |= flags.unread
    },
    record,
  }
}

function copyOf(headers: LogRecord['headers']): LogRecord['headers'] {
  return Object.freeze(Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)])))
}

function bytesOfHeaders(headers: LogRecord['headers']): number {
  return Object.entries(headers).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + value.length, 0)
}
