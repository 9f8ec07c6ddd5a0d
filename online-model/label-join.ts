/** Predictions and late labels in, labelled training rows out; the trainer feeds it from the logged streams. Pure. */
import assert from 'node:assert/strict'
import { createNewest } from './newest.ts'

export interface LabelJoinOptions {
  /** Length of every prediction's vector. */
  readonly featureCount: number
  /** Event time after which an event without a label has the other value. */
  readonly afterMs: number
  /** Label (0 or 1) of events that a label names, and of those that none names. */
  readonly value: number
  readonly otherwise: number
  /** Predictions kept, and labels kept: the newest of each by event time. */
  readonly rowsMax: number
}

/** Rows in the order of (event time, id), so that the same events give the same model however they were read. */
export interface LabelledRows {
  /** Row-major, `rowCount` × `featureCount`, NaN where missing. */
  readonly rows: Float64Array
  readonly labels: Uint8Array
  /** Event time of each row, ms. */
  readonly times: Float64Array
  readonly rowCount: number
  /** Rows that a label names. */
  readonly labelled: number
  /** Predictions kept that are not ripe yet, with a label or without. */
  readonly waiting: number
}

export interface LabelJoinCounts {
  readonly predictions: number
  readonly labels: number
  /** Seen again while kept: the first wins. */
  readonly duplicatePredictions: number
  readonly duplicateLabels: number
  /** Beyond `rowsMax`. */
  readonly droppedPredictions: number
  readonly droppedLabels: number
}

export interface LabelJoin {
  /** Times in ms since 1970. Labels may come before or after the event that they name. */
  addPrediction(prediction: { readonly id: string; readonly time: number; readonly features: ArrayLike<number> }): void
  addLabel(label: { readonly id: string; readonly time: number }): void
  /**
   * The rows with time ≤ watermark − `afterMs`, labelled or not: a label that came early makes no row ripe before its
   * time, or young events would be positives only. The watermark is the slower of the two inputs' event times. A label
   * that came later than `afterMs` still names its event. Memory: copies the ripe rows once.
   */
  ripe(watermarkMs: number): LabelledRows
  counts(): LabelJoinCounts
}

export function createLabelJoin(options: LabelJoinOptions): LabelJoin {
  const { featureCount, afterMs, value, otherwise, rowsMax } = options
  for (const label of [value, otherwise]) assert(label === 0 || label === 1, `label value ${label}, expected 0 or 1`)
  assert(value !== otherwise, 'both label values are the same')
  assert(afterMs >= 0 && Number.isInteger(featureCount) && featureCount > 0)
  const predictions = createNewest(rowsMax)
  const labels = createNewest(rowsMax)
  let vectors = new Float64Array(Math.min(rowsMax, 1024) * featureCount)

  const makeRoom = (slot: number): void => {
    if ((slot + 1) * featureCount <= vectors.length) return
    const wider = new Float64Array(Math.min(rowsMax * featureCount, vectors.length * 2))
    wider.set(vectors)
    vectors = wider
  }

  return {
    addPrediction: ({ id, time, features }) => {
      if (features.length !== featureCount)
        assert.fail(`vector of ${id} has ${features.length} values, not ${featureCount}`)
      const slot = predictions.place(id, time)
      if (slot === null) return
      makeRoom(slot)
      vectors.set(features, slot * featureCount)
    },
    addLabel: ({ id, time }) => {
      labels.place(id, time)
    },
    ripe: (watermarkMs) => {
      const slots = predictions.slotsUpTo(watermarkMs - afterMs)
      const rows = new Float64Array(slots.length * featureCount)
      const rowLabels = new Uint8Array(slots.length)
      const times = new Float64Array(slots.length)
      let labelled = 0
      slots.forEach((slot, row) => {
        rows.set(vectors.subarray(slot * featureCount, (slot + 1) * featureCount), row * featureCount)
        times[row] = predictions.timeOf(slot)
        const named = labels.slotOf(predictions.idOf(slot)) !== undefined
        rowLabels[row] = named ? value : otherwise
        if (named) labelled++
      })
      const waiting = predictions.size() - slots.length
      return { rows, labels: rowLabels, times, rowCount: slots.length, labelled, waiting }
    },
    counts: () => ({
      predictions: predictions.size(),
      labels: labels.size(),
      duplicatePredictions: predictions.duplicates(),
      duplicateLabels: labels.duplicates(),
      droppedPredictions: predictions.dropped(),
      droppedLabels: labels.dropped(),
    }),
  }
}
