/**
 * The store's mature rows in, a training set and later rows held out for the evaluation out. Called by step 4 of the trainer.
 */
import type { Fitted, TrainingRows } from '../models/model.ts'
import type { MatureRows, TrainingStore } from '../training-store/store.ts'

export interface RetrainSpan {
  /** Event time, ms: rows from here on up to `heldOutFromMs` are trained on, ... */
  readonly fromMs: number
  /** ... and those from there on are held out to evaluate the candidate on. */
  readonly heldOutFromMs: number
  readonly untilMs: number
}

export interface RetrainRows {
  readonly span: RetrainSpan
  readonly training: TrainingRows
  readonly positives: number
  /** Later than all rows of `training`. */
  readonly heldOut: MatureRows
}

export type Fit = (
  training: TrainingRows,
  options: { readonly seed: number; readonly signal: AbortSignal },
) => Promise<Fitted>

/** Enough for a meaningful average precision. */
const heldOutPositives = 150
/** At most this share of the rows is held out, since the newest rows are also the best to learn from. */
const heldOutShareMax = 0.2

/** `overMs`: event time that the rows may reach back, null for all that the store has. Answers null where there is no mature row. */
export async function retrainRows(
  store: Pick<TrainingStore, 'rows' | 'features'>,
  maturedUntilMs: number,
  overMs: number | null,
): Promise<RetrainRows | null> {
  if (!Number.isFinite(maturedUntilMs)) return null
  const untilMs = maturedUntilMs + 1
  const wantedFromMs = overMs === null ? Number.MIN_SAFE_INTEGER : untilMs - overMs
  const all = await store.rows({ fromMs: wantedFromMs, untilMs }, 'latest')
  if (all.rowCount === 0) return null
  const fromMs = all.times[0]!
  const heldOutFromMs = all.times[heldOutFrom(all)]!
  const isTrained = (row: number) => all.times[row]! < heldOutFromMs
  let rowCount = 0
  let positives = 0
  // Rows are in event-time order.
  for (; rowCount < all.rowCount && isTrained(rowCount); rowCount++) positives += all.labels[rowCount]!
  const width = store.features.length
  const weights = all.weights.slice(0, rowCount)
  return {
    span: { fromMs, heldOutFromMs, untilMs },
    training: {
      features: store.features,
      // Copies, so that their buffers can be transferred to another thread.
      rows: all.rows.slice(0, rowCount * width),
      rowCount,
      labels: all.labels.slice(0, rowCount),
      weights: weights.every((weight) => weight === 1) ? null : weights,
    },
    positives,
    heldOut: rowsFrom(all, rowCount, width),
  }
}

function heldOutFrom({ rowCount, labels }: MatureRows): number {
  const first = Math.floor(rowCount * (1 - heldOutShareMax))
  let positives = 0
  for (let row = rowCount - 1; row > first; row--) {
    positives += labels[row]!
    if (positives >= heldOutPositives) return row
  }
  return Math.min(first, rowCount - 1)
}

function rowsFrom(all: MatureRows, from: number, width: number): MatureRows {
  return {
    rowCount: all.rowCount - from,
    ids: all.ids.slice(from),
    times: all.times.slice(from),
    rows: all.rows.slice(from * width),
    labels: all.labels.slice(from),
    weights: all.weights.slice(from),
    scores: all.scores.slice(from),
    versions: all.versions.slice(from),
    keys: all.keys.slice(from),
    labelTimes: all.labelTimes.slice(from),
    shadows: all.shadows.slice(from),
    seqs: all.seqs.slice(from),
  }
}
