/**
 * Scored events in event-time order and their labels in, rows by number out: the backtest's counterpart of the training store. Old rows
 * are removed once nothing needs them.
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
  /** Labels the row of that id: the latest label is used, null withdraws. Answers the row and its former label; null without such a row. */
  label(id: string, outcome: Outcome, timeMs: number): { readonly row: number; readonly before: Outcome } | null
  timeOf(row: number): number
  /** The same number for the same key. */
  keyOf(row: number): number
  /** Its label by the label events read so far; null where it has none. */
  outcomeOf(row: number): Outcome
  /** Event time of that label, ms; NaN where there is none. */
  labelledAt(row: number): number
  /** A view into the history; not to be written to or kept. */
  vectorOf(row: number): Float64Array
  /** The first row that is kept and not earlier than that time. */
  rowAt(timeMs: number): number
  /** Allows rows before that time to be removed; whole chunks of them are. */
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

interface HistoryState {
  readonly width: number
  readonly chunks: Chunk[]
  /** Chunks that were removed. */
  removed: number
  end: number
  readonly rowOf: Map<string, number>
  readonly keys: Map<string, number>
}

export function createHistory(width: number): History {
  assert(Number.isInteger(width) && width > 0, `vectors of ${width} values`)
  const state: HistoryState = { width, chunks: [], removed: 0, end: 0, rowOf: new Map(), keys: new Map() }
  return {
    get end() {
      return state.end
    },
    get begin() {
      return state.removed * chunkRows
    },
    add: (row) => add(state, row),
    label: (id, outcome, timeMs) => label(state, id, outcome, timeMs),
    outcomeOf: (row) => outcomeOf(state, row),
    timeOf: (row) => chunkOf(state, row).times[row % chunkRows]!,
    keyOf: (row) => chunkOf(state, row).keys[row % chunkRows]!,
    labelledAt: (row) => chunkOf(state, row).labelledAt[row % chunkRows]!,
    vectorOf(row) {
      const at = (row % chunkRows) * width
      return chunkOf(state, row).vectors.subarray(at, at + width)
    },
    rowAt: (timeMs) => rowAt(state, timeMs),
    forgetBefore: (timeMs) => forgetBefore(state, timeMs),
  }
}

function chunkOf({ chunks, removed, end }: HistoryState, row: number): Chunk {
  const chunk = chunks[Math.floor(row / chunkRows) - removed]
  if (chunk === undefined || row >= end) assert.fail(`row ${row} is not kept: ${removed * chunkRows} to ${end} are`)
  return chunk
}

function add(state: HistoryState, { id, time, key, vector }: HistoryRow): void {
  const { width, chunks, keys } = state
  if (vector.length !== width) assert.fail(`vector of ${id} has ${vector.length} values, not ${width}`)
  const at = state.end % chunkRows
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
  state.rowOf.set(id, state.end++)
}

function label(state: HistoryState, id: string, outcome: Outcome, timeMs: number): ReturnType<History['label']> {
  const row = state.rowOf.get(id)
  if (row === undefined) return null
  const before = outcomeOf(state, row)
  const { outcomes, labelledAt } = chunkOf(state, row)
  outcomes[row % chunkRows] = outcome ?? none
  labelledAt[row % chunkRows] = outcome === null ? Number.NaN : timeMs
  return { row, before }
}

function outcomeOf(state: HistoryState, row: number): Outcome {
  const outcome = chunkOf(state, row).outcomes[row % chunkRows]!
  return outcome === none ? null : (outcome as 0 | 1)
}

function rowAt(state: HistoryState, timeMs: number): number {
  let low = state.removed * chunkRows
  let high = state.end
  while (low < high) {
    const middle = (low + high) >>> 1
    if (chunkOf(state, middle).times[middle % chunkRows]! < timeMs) low = middle + 1
    else high = middle
  }
  return low
}

function forgetBefore(state: HistoryState, timeMs: number): void {
  const { chunks, rowOf } = state
  while (chunks.length > 0 && chunks[0]!.ids.length === chunkRows && chunks[0]!.times.at(-1)! < timeMs) {
    for (const id of chunks.shift()!.ids) rowOf.delete(id)
    state.removed++
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
