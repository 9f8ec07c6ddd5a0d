/**
 * Events on a repartition topic read in place, straight into rows: the counterpart of `repartition-writer.ts`. What it does not read,
 * such as records of other definitions and watermarks, goes through `record-codecs.ts`.
 */
import assert from 'node:assert/strict'
import { singleObjectHeaderBytes } from './avro-fingerprint.ts'
import { readDouble, reading, readLong } from './byte-source.ts'
import type { EventRows, ReadRow } from './event-rows.ts'
import type { RepartitionEvent, StagePosition } from './records.ts'

/** What came with the events of an answer of a fetch, in columns by row. */
export interface CarriedRows {
  readonly sources: Int32Array
  readonly originPartitions: Int32Array
  readonly originOffsets: Float64Array
  /** Row-major; a row has as many as its `slotCounts` says: none for streams that are not scored. */
  readonly slots: Float64Array
  readonly slotsMax: number
  readonly slotCounts: Uint16Array
  readonly positions: Array<readonly StagePosition[]>
  /** See `RepartitionEvent`; of rows that have any. */
  readonly unsent: Map<number, readonly string[]>
}

export function createCarriedRows(capacity: number, slotsMax: number): CarriedRows {
  return {
    sources: new Int32Array(capacity),
    originPartitions: new Int32Array(capacity),
    originOffsets: new Float64Array(capacity),
    slots: new Float64Array(capacity * slotsMax),
    slotsMax,
    slotCounts: new Uint16Array(capacity),
    positions: [],
    unsent: new Map(),
  }
}

/** What was decoded the slower way. */
export function putCarried(carried: CarriedRows, row: number, event: RepartitionEvent): void {
  const { source, origin, slots, unsent, positions } = event
  assert(slots.length <= carried.slotsMax, `${slots.length} slots of at most ${carried.slotsMax}`)
  carried.sources[row] = source
  carried.originPartitions[row] = origin.partition
  carried.originOffsets[row] = origin.offset
  carried.slots.set(slots, row * carried.slotsMax)
  carried.slotCounts[row] = slots.length
  carried.positions[row] = positions
  if (unsent.length > 0) carried.unsent.set(row, unsent)
}

export function copyCarried(from: CarriedRows, row: number, to: CarriedRows, toRow: number): void {
  const { slotsMax } = from
  to.sources[toRow] = from.sources[row]!
  to.originPartitions[toRow] = from.originPartitions[row]!
  to.originOffsets[toRow] = from.originOffsets[row]!
  to.slots.set(from.slots.subarray(row * slotsMax, (row + 1) * slotsMax), toRow * slotsMax)
  to.slotCounts[toRow] = from.slotCounts[row]!
  to.positions[toRow] = from.positions[row]!
  const unsent = from.unsent.get(row)
  if (unsent !== undefined) to.unsent.set(toRow, unsent)
}

export interface CarriedStreamReading {
  readonly stream: number
  readonly header: Buffer
  readonly readRow: ReadRow
  /** Null where the stream is not scored. */
  readonly slotCount: number | null
}

const none: readonly never[] = []

export interface RepartitionReader {
  /** Stream of the event in [start, end); −1: the record is none, or one of another encoding than this definition's own. */
  readonly streamOf: (bytes: Buffer, start: number, end: number) => number
  /**
   * The event of this stream in [start, end) of the bytes of `rows` into their row `row`, what came with it into that row of `into`. False,
   * and both undefined, where it takes the slower way.
   */
  readonly read: (
    stream: number,
    rows: EventRows,
    start: number,
    end: number,
    row: number,
    into: CarriedRows,
  ) => boolean
}

export function createRepartitionReader(streams: readonly CarriedStreamReading[]): RepartitionReader {
  const known = streams.map(({ stream, header }) => ({
    stream,
    marker: header.readUInt16LE(0),
    low: header.readUInt32LE(2),
    high: header.readUInt32LE(6),
  }))
  const readings: CarriedStreamReading[] = []
  for (const reading of streams) readings[reading.stream] = reading
  const positionsAt = createPositionsReader()

  function streamOf(bytes: Buffer, start: number, end: number): number {
    if (start < 0 || end - start < singleObjectHeaderBytes) return -1
    const marker = bytes.readUInt16LE(start)
    const low = bytes.readUInt32LE(start + 2)
    const high = bytes.readUInt32LE(start + 6)
    for (let i = 0; i < known.length; i++) {
      const header = known[i]!
      if (low === header.low && high === header.high && marker === header.marker) return header.stream
    }
    return -1
  }

  function read(stream: number, rows: EventRows, start: number, end: number, row: number, into: CarriedRows): boolean {
    const { readRow, slotCount } = readings[stream]!
    const { bytes } = rows
    reading.at = start + singleObjectHeaderBytes
    const source = readLong(bytes, end)
    const originPartition = readLong(bytes, end)
    const originOffset = readLong(bytes, end)
    if (!(reading.at >= 0 && source >= 0 && originPartition >= 0 && originOffset >= 0)) return false
    into.sources[row] = source
    into.originPartitions[row] = originPartition
    into.originOffsets[row] = originOffset
    reading.at = readRow(rows, reading.at, end, row)
    into.slotCounts[row] = slotCount ?? 0
    into.positions[row] = none
    if (slotCount === null) return reading.at === end
    const first = row * into.slotsMax
    for (let i = 0; i < slotCount; i++) into.slots[first + i] = readDouble(bytes, end)
    const positions = reading.at < 0 ? null : positionsAt(bytes, reading.at, end)
    if (positions === null) return false
    into.positions[row] = positions
    return true
  }

  return { streamOf, read }
}

/** Positions of the records of one transaction are mostly the same: they are read once, and are one object. */
function createPositionsReader(): (bytes: Buffer, start: number, end: number) => readonly StagePosition[] | null {
  let lastBytes = Buffer.alloc(0)
  let last: readonly StagePosition[] = none
  return (bytes, start, end) => {
    if (isSame(lastBytes, bytes, start, end)) return last
    reading.at = start
    const positions = readPositions(bytes, end)
    if (positions === null || reading.at !== end) return null
    lastBytes = Buffer.from(bytes.subarray(start, end))
    last = positions
    return positions
  }
}

function isSame(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  if (known.length === 0 || known.length !== end - start) return false
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false
  return true
}

/** Null where they are not in the form that the writer gives them. */
function readPositions(bytes: Buffer, end: number): StagePosition[] | null {
  const positions: StagePosition[] = []
  // Every position takes four bytes, and every offset one: a count cannot promise more than is there.
  const count = readLong(bytes, end)
  if (!(count >= 1 && count * 4 <= end - reading.at)) return null
  for (let i = 0; i < count; i++) {
    const length = readLong(bytes, end)
    const from = reading.at
    if (!(length >= 0 && length <= end - from)) return null
    reading.at = from + length
    const stage = bytes.toString('utf8', from, from + length)
    const partition = readLong(bytes, end)
    const next = readOffsets(bytes, end)
    if (next === null || !(partition >= 0)) return null
    positions.push({ stage, partition, next })
  }
  return readLong(bytes, end) === 0 ? positions : null
}

function readOffsets(bytes: Buffer, end: number): number[] | null {
  const offsets: number[] = []
  const count = readLong(bytes, end)
  if (count === 0) return offsets
  if (!(count >= 1 && count <= end - reading.at)) return null
  for (let i = 0; i < count; i++) offsets.push(readLong(bytes, end))
  return readLong(bytes, end) === 0 && reading.at >= 0 ? offsets : null
}
