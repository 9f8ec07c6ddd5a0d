/**
 * What the fold of a batch gives, in columns: the events that go on, in canonical order, and for those of the scored stream their numbers,
 * one row after the other as models take them. Filled by `fold.ts`, scored by `score.ts`, read by `outputs.ts`. A loop has one, which is
 * used for one task's batch after the other.
 */
import { clearReasons, createReasonRows, type ReasonRows } from '../../schemas/wire/reason-rows.ts'
import type { StageEvent } from './stage-event.ts'

export interface FoldedEvents {
  /** Events that go on. */
  count: number
  readonly events: StageEvent[]
  /** By event: its row of numbers; −1 for streams that are not scored. */
  readonly rows: number[]
  /** Rows of numbers. */
  scored: number
  /** Numbers of a row: slots for the next stage, or the vector in the order of the features. NaN is missing. */
  width: number
  /** Row-major; longer than what is used, as `scores` is. */
  numbers: Float64Array
  /** By row. Where this is null nothing was scored. */
  modelVersion: string | null
  scores: Float64Array
  readonly reasons: ReasonRows
  /** By row; without challengers there are none. */
  readonly shadows: Shadows[]
}

export type Shadows = Array<{ readonly version: string; readonly score: number }>

export function createFoldedEvents(): FoldedEvents {
  return {
    count: 0,
    events: [],
    rows: [],
    scored: 0,
    width: 0,
    numbers: new Float64Array(0),
    modelVersion: null,
    scores: new Float64Array(0),
    reasons: createReasonRows(),
    shadows: [],
  }
}

/** Room for so many rows of so many numbers; batches are bounded, and so is this. */
export function clearFolded(folded: FoldedEvents, rowsMax: number, width: number): void {
  folded.count = 0
  folded.events.length = 0
  folded.rows.length = 0
  folded.scored = 0
  folded.width = width
  folded.modelVersion = null
  clearReasons(folded.reasons)
  folded.shadows.length = 0
  if (folded.numbers.length < rowsMax * width) folded.numbers = new Float64Array(rowsMax * width)
  if (folded.scores.length < rowsMax) folded.scores = new Float64Array(rowsMax)
}

/** An event goes on. Its numbers lie in row `row`, which is behind those of the events before it; −1: it has none. */
export function addFolded(folded: FoldedEvents, event: StageEvent, row: number): void {
  const { scored, width, numbers } = folded
  folded.events.push(event)
  folded.rows.push(row < 0 ? -1 : scored)
  folded.count++
  if (row < 0) return
  // Rows of events that did not go on are closed up.
  if (row !== scored) for (let i = 0; i < width; i++) numbers[scored * width + i] = numbers[row * width + i]!
  folded.scored++
}
