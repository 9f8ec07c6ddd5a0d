/** One partition in memory: records are appended, committed ones are read, as a Kafka log does it. Used by the memory broker. */
import assert from 'node:assert/strict'
import type { LogRecord } from '../broker.ts'

/** What an entry needs to know of its transaction: nobody reads on while it is open, and nobody sees what was aborted. */
export interface LogTransaction {
  readonly state: 'open' | 'committed' | 'aborted'
}

export interface PartitionLog {
  readonly start: number
  readonly end: number
  /** First offset of an open transaction, else the end. */
  readonly stableEnd: number
  append(record: Omit<LogRecord, 'offset'>, transaction: LogTransaction | null): void
  /** The marker that ends a transaction takes an offset, too. */
  mark(transaction: LogTransaction): void
  /** Committed records from `from` on, at least one where there is any; `next` is past what was left out on the way. */
  read(from: number, bytesMax: number): { records: LogRecord[]; next: number }
  /** Offset of the first record appended at that time or later, whether it is committed or not; at most the stable end. */
  offsetAt(timeMs: number): number
  /** Forgets everything before `start`, as retention does. */
  truncate(start: number): void
}

interface Entry {
  /** Null: a marker. */
  readonly record: LogRecord | null
  readonly transaction: LogTransaction | null
}

export function createPartitionLog(): PartitionLog {
  let start = 0
  let entries: Entry[] = []
  const openFrom = new Map<LogTransaction, number>()

  const end = () => start + entries.length
  function stableEnd(): number {
    let stable = end()
    for (const offset of openFrom.values()) if (offset < stable) stable = offset
    return stable
  }

  function append(record: Omit<LogRecord, 'offset'>, transaction: LogTransaction | null): void {
    const offset = end()
    if (transaction && !openFrom.has(transaction)) openFrom.set(transaction, offset)
    entries.push({ record: Object.freeze({ offset, ...record }), transaction })
  }

  function mark(transaction: LogTransaction): void {
    entries.push({ record: null, transaction })
    openFrom.delete(transaction)
  }

  function read(from: number, bytesMax: number): { records: LogRecord[]; next: number } {
    const records: LogRecord[] = []
    const stable = stableEnd()
    let bytes = 0
    let next = from
    for (; next < stable; next++) {
      const { record, transaction } = entries[next - start]!
      if (record === null || transaction?.state === 'aborted') continue
      bytes += bytesOf(record)
      if (records.length > 0 && bytes > bytesMax) break
      records.push(record)
    }
    return { records, next }
  }

  function offsetAt(timeMs: number): number {
    const at = entries.findIndex(({ record }) => record !== null && record.appendedAtMs >= timeMs)
    return at < 0 ? stableEnd() : Math.min(start + at, stableEnd())
  }

  function truncate(to: number): void {
    assert(
      to >= start && to <= stableEnd(),
      `only stable records can be forgotten: ${start} to ${stableEnd()}, not ${to}`,
    )
    entries = entries.slice(to - start)
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
    append,
    mark,
    read,
    offsetAt,
    truncate,
  }
}

export function bytesOf({ key, value }: Pick<LogRecord, 'key' | 'value'>): number {
  return (key?.length ?? 0) + (value?.length ?? 0)
}
