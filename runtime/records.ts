/**
 * The records of one answer of a fetch, as columns: where keys and values lie in one buffer, and a record as an object only for those who
 * ask for one. Made by the fetchers of both brokers; the batch loop reads the columns, everything else iterates.
 */

/** A record in its partition. `appendedAtMs` is the broker's clock: topics of Millrace are LogAppendTime. */
export interface LogRecord {
  readonly offset: number
  readonly appendedAtMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer>>
}

/** In offset order. Arrays may be longer than `length`. The bytes are a copy: what holds them keeps no answer of a fetch in memory. */
export interface Records extends Iterable<LogRecord> {
  readonly length: number
  readonly offsets: Float64Array
  readonly appendedAtMs: Float64Array
  /** Holds all keys and values. */
  readonly bytes: Buffer
  /** Where key and value begin and end; a beginning of −1 stands for null. */
  readonly keyStarts: Int32Array
  readonly keyEnds: Int32Array
  readonly valueStarts: Int32Array
  readonly valueEnds: Int32Array
  /** By index, of the records that have any. */
  readonly headers: ReadonlyMap<number, LogRecord['headers']>
  /** Key, value and headers are views: copy what is to be kept for long. */
  at(index: number): LogRecord
}

export type RecordColumns = Omit<Records, 'at' | typeof Symbol.iterator>

export const noHeaders: LogRecord['headers'] = Object.freeze(Object.create(null))

export function recordsOver(columns: RecordColumns): Records {
  const at = (index: number) => recordAt(columns, index)
  return {
    ...columns,
    at,
    *[Symbol.iterator]() {
      for (let index = 0; index < columns.length; index++) yield at(index)
    },
  }
}

/** Of records that exist as objects, as the memory broker keeps them. */
export function recordsOf(list: readonly LogRecord[]): Records {
  const size = list.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0)
  const columns = createColumns(list.length, Buffer.allocUnsafe(size))
  const headers = new Map<number, LogRecord['headers']>()
  let end = 0
  const place = (field: Buffer | null, starts: Int32Array, ends: Int32Array, index: number) => {
    starts[index] = field === null ? -1 : end
    if (field !== null) end += field.copy(columns.bytes, end)
    ends[index] = end
  }
  list.forEach((record, index) => {
    columns.offsets[index] = record.offset
    columns.appendedAtMs[index] = record.appendedAtMs
    place(record.key, columns.keyStarts, columns.keyEnds, index)
    place(record.value, columns.valueStarts, columns.valueEnds, index)
    if (Object.keys(record.headers).length > 0) headers.set(index, record.headers)
  })
  return recordsOver({ ...columns, length: list.length, headers })
}

/** Room for so many records. */
export function createColumns(capacity: number, bytes: Buffer): Omit<RecordColumns, 'length' | 'headers'> {
  return {
    offsets: new Float64Array(capacity),
    appendedAtMs: new Float64Array(capacity),
    bytes,
    keyStarts: new Int32Array(capacity),
    keyEnds: new Int32Array(capacity),
    valueStarts: new Int32Array(capacity),
    valueEnds: new Int32Array(capacity),
  }
}

export const noRecords: Records = recordsOf([])

function recordAt(columns: RecordColumns, index: number): LogRecord {
  const { bytes, keyStarts, keyEnds, valueStarts, valueEnds } = columns
  if (!(index >= 0 && index < columns.length)) throw new RangeError(`record ${index} of ${columns.length}`)
  return {
    offset: columns.offsets[index]!,
    appendedAtMs: columns.appendedAtMs[index]!,
    key: viewOf(bytes, keyStarts[index]!, keyEnds[index]!),
    value: viewOf(bytes, valueStarts[index]!, valueEnds[index]!),
    headers: columns.headers.get(index) ?? noHeaders,
  }
}

function viewOf(bytes: Buffer, start: number, end: number): Buffer | null {
  return start < 0 ? null : bytes.subarray(start, end)
}
