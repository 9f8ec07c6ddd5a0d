/**
 * Events on a repartition topic read in place, straight into rows: the counterpart of `repartition-writer.ts`. What it does not read,
 * such as records of other definitions and watermarks, goes through `record-codecs.ts`.
 */
import { singleObjectHeaderBytes } from './avro-fingerprint.ts'
import { readDouble, reading, readLong } from './byte-source.ts'
import type { EventRows, ReadRow } from './event-rows.ts'
import type { StagePosition } from './records.ts'

/** What came with an event. One object is written over by each reading; slots and positions are kept as they are. */
export interface CarriedEvent {
  stream: number
  source: number
  originPartition: number
  originOffset: number
  /** Empty for streams that are not scored. */
  slots: readonly number[]
  positions: readonly StagePosition[]
}

export const emptyCarried = (): CarriedEvent => {
  return { stream: -1, source: 0, originPartition: 0, originOffset: 0, slots: [], positions: [] }
}

/**
 * The record in [start, end) of `bytes`: its event into row `row` of `rowsOf` its stream, whose bytes are the same, the rest into `into`.
 * False, and both undefined, where it takes the slower way.
 */
export type ReadCarried = (
  bytes: Buffer,
  start: number,
  end: number,
  rowsOf: (stream: number) => EventRows,
  row: number,
  into: CarriedEvent,
) => boolean

export interface CarriedStreamReading {
  readonly stream: number
  readonly header: Buffer
  readonly readRow: ReadRow
  /** Null where the stream is not scored. */
  readonly slotCount: number | null
}

const none: readonly never[] = []

export interface RepartitionReader {
  readonly read: ReadCarried
  /** The record in [start, end) is an event in this definition's own encoding. */
  readonly isEvent: (bytes: Buffer, start: number, end: number) => boolean
}

export function createRepartitionReader(streams: readonly CarriedStreamReading[]): RepartitionReader {
  const known = streams.map(({ header, ...rest }) => ({
    ...rest,
    marker: header.readUInt16LE(0),
    low: header.readUInt32LE(2),
    high: header.readUInt32LE(6),
  }))
  const positionsAt = createPositionsReader()

  /** Undefined: it is none, or one of another encoding. */
  function streamOf(bytes: Buffer, start: number, end: number) {
    if (start < 0 || end - start < singleObjectHeaderBytes) return undefined
    const [marker, low, high] = [
      bytes.readUInt16LE(start),
      bytes.readUInt32LE(start + 2),
      bytes.readUInt32LE(start + 6),
    ]
    for (let i = 0; i < known.length; i++) {
      const stream = known[i]!
      if (low === stream.low && high === stream.high && marker === stream.marker) return stream
    }
    return undefined
  }

  function read(
    bytes: Buffer,
    start: number,
    end: number,
    rowsOf: (stream: number) => EventRows,
    row: number,
    into: CarriedEvent,
  ): boolean {
    const stream = streamOf(bytes, start, end)
    if (stream === undefined) return false
    into.stream = stream.stream
    reading.at = start + singleObjectHeaderBytes
    into.source = readLong(bytes, end)
    into.originPartition = readLong(bytes, end)
    into.originOffset = readLong(bytes, end)
    if (!(reading.at >= 0 && into.source >= 0 && into.originPartition >= 0 && into.originOffset >= 0)) return false
    reading.at = stream.readRow(rowsOf(stream.stream), reading.at, end, row)
    into.slots = none
    into.positions = none
    if (stream.slotCount === null) return reading.at === end
    into.slots = readSlots(bytes, end, stream.slotCount)
    const positions = reading.at < 0 ? null : positionsAt(bytes, reading.at, end)
    if (positions === null) return false
    into.positions = positions
    return true
  }

  return { read, isEvent: (bytes, start, end) => streamOf(bytes, start, end) !== undefined }
}

function readSlots(bytes: Buffer, end: number, count: number): number[] {
  const slots: number[] = []
  for (let i = 0; i < count; i++) slots.push(readDouble(bytes, end))
  return slots
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
