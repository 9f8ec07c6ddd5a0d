/**
 * Scored events in event-time order and their labels in, rows by number out, as many as anyone still asks for: what the backtest has
 * where the trainer has its training store.
 */
import assert from 'node:assert/strict'
import type { Outcome } from '../../schemas/plan/label-outcome.ts'

export interface HistoryRow {
  readonly id: string
  /** Event time, ms; not before that of the row before. */
  readonly time: number
  /** Key of the entity that alerts are counted by. */
  readonly key: string
  readonly vector: ArrayLike<number>
}

/** Rows are numbered from 0 on, in the order in which they came. */
export interface History {
  /** Number of the next row. */
  readonly end: number
  /** Number of the oldest row that is kept. */
  readonly begin: number
  add(row: HistoryRow): void
  /** Takes the label of the row of that id: the latest holds, null withdraws. Its row and what held before, or null without such a row. */
  label(id: string, outcome: Outcome, timeMs: number): { readonly row: number; readonly before: Outcome } | null
  timeOf(row: number): number
  /** The same number for the same key. */
  keyOf(row: number): number
  /** What a label says of it as far as labels have come; null where none does. */
  outcomeOf(row: number): Outcome
  /** When that label came, ms; NaN where there is none. */
  labelledAt(row: number): number
  /** A view into the history: for reading, and not for keeping. */
  vectorOf(row: number): Float64Array
  /** The first row that is kept and not earlier than that time. */
  rowAt(timeMs: number): number
  /** Rows before that time may go; whole chunks of them do. */
  forgetBefore(timeMs: number): void
}

interface Chunk {
  readonly ids: string[]
  readonly times: Float64Array
  readonly keys: Int32Array
  /** −1 where there is none. */
  readonly outcomes: Int8Array
  readonly labelledAt: Float64Array
  readonly vectors: Float64Array
}

const chunkRows = 4_096
const none = -1

export function createHistory(width: number): History {
  assert(Number.isInteger(width) && width > 0, `vectors of ${width} values`)
  const chunks: Chunk[] = []
  /** Chunks that are gone. */
  let gone = 0
  let end = 0
  const rowOf = new Map<string, number>()
  const keys = new Map<string, number>()

  function chunkOf(row: number): Chunk {
    const chunk = chunks[Math.floor(row / chunkRows) - gone]
    if (chunk === undefined || row >= end) assert.fail(`row ${row} is not kept: ${gone * chunkRows} to ${end} are`)
    return chunk
  }

  function add({ id, time, key, vector }: HistoryRow): void {
    if (vector.length !== width) assert.fail(`vector of ${id} has ${vector.length} values, not ${width}`)
    const at = end % chunkRows
    if (at === 0) chunks.push(emptyChunk(width))
    const chunk = chunks.at(-1)!
    let code = keys.get(key)
    if (code === undefined) {
      code = keys.size
      keys.set(key, code)
    }
    chunk.ids.push(id)
    chunk.times[at] = time
    chunk.keys[at] = code
    chunk.vectors.set(vector, at * width)
    rowOf.set(id, end++)
  }

  function label(id: string, outcome: Outcome, timeMs: number) {
    const row = rowOf.get(id)
    if (row === undefined) return null
    const before = outcomeOf(row)
    const { outcomes, labelledAt } = chunkOf(row)
    outcomes[row % chunkRows] = outcome ?? none
    labelledAt[row % chunkRows] = outcome === null ? Number.NaN : timeMs
    return { row, before }
  }

  function outcomeOf(row: number): Outcome {
    const outcome = chunkOf(row).outcomes[row % chunkRows]!
    return outcome === none ? null : (outcome as 0 | 1)
  }

  function rowAt(timeMs: number): number {
    let low = gone * chunkRows
    let high = end
    while (low < high) {
      const middle = (low + high) >>> 1
      if (chunkOf(middle).times[middle % chunkRows]! < timeMs) low = middle + 1
      else high = middle
    }
    return low
  }

  function forgetBefore(timeMs: number): void {
    while (chunks.length > 0 && chunks[0]!.ids.length === chunkRows && chunks[0]!.times.at(-1)! < timeMs) {
      for (const id of chunks.shift()!.ids) rowOf.delete(id)
      gone++
    }
  }

  return {
    get end() {
      return end
    },
    get begin() {
      return gone * chunkRows
    },
    add,
    label,
    outcomeOf,
    timeOf: (row) => chunkOf(row).times[row % chunkRows]!,
    keyOf: (row) => chunkOf(row).keys[row % chunkRows]!,
    labelledAt: (row) => chunkOf(row).labelledAt[row % chunkRows]!,
    vectorOf(row) {
      const at = (row % chunkRows) * width
      return chunkOf(row).vectors.subarray(at, at + width)
    },
    rowAt,
    forgetBefore,
  }
}

function emptyChunk(width: number): Chunk {
  return {
    ids: [],
    times: new Float64Array(chunkRows),
    keys: new Int32Array(chunkRows),
    outcomes: new Int8Array(chunkRows).fill(none),
    labelledAt: new Float64Array(chunkRows).fill(Number.NaN),
    vectors: new Float64Array(chunkRows * width),
  }
}
