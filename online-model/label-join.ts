/** Predictions and late labels in, labelled training rows out; the trainer feeds it from the logged streams. Pure. */
import assert from 'node:assert/strict'
import { createNewest } from './newest.ts'

export interface LabelJoinOptions {
  /** Length of every prediction's vector. */
  readonly featureCount: number
  /**
   * Event time, ms, up to which an event's label is due; −∞ while one of the inputs is empty. Known before the first
   * prediction, because the newest predictions are the ones that are not ripe: kept, they would leave no room for those
   * that are.
   */
  readonly ripeUntilMs: number
  /** Label (0 or 1) of events that a label names, and of those that none names. */
  readonly value: number
  readonly otherwise: number
  /** Ripe predictions kept: the newest by event time. */
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
}

export interface LabelJoinCounts {
  /** All that were added: ripe or not, kept or not. */
  readonly predictions: number
  /** Not ripe, with a label or without; not kept, so one that comes twice counts twice. */
  readonly waiting: number
  /** Seen again while kept: the first wins. */
  readonly duplicatePredictions: number
  /** Ripe ones beyond `rowsMax`. */
  readonly droppedPredictions: number
  /** All that were added. */
  readonly labels: number
  /** Of a row that was labelled already. */
  readonly duplicateLabels: number
  /** Of events without a row: they wait, were dropped or were not scored. */
  readonly labelsWithoutRow: number
}

/**
 * All predictions first, then all labels: a label is a mark on a row that is kept, so that labels take no room of their
 * own and no row loses its label to a newer one.
 */
export interface LabelJoin {
  /** Time in ms since 1970. */
  addPrediction(prediction: { readonly id: string; readonly time: number; readonly features: ArrayLike<number> }): void
  /**
   * A label that came later than due still names its event; one that came early makes no row ripe before its time, or
   * young events would be positives only.
   */
  addLabel(id: string): void
  /** Memory: copies the rows once. */
  labelledRows(): LabelledRows
  counts(): LabelJoinCounts
}

export function createLabelJoin(options: LabelJoinOptions): LabelJoin {
  const { featureCount, ripeUntilMs, value, otherwise, rowsMax } = options
  for (const label of [value, otherwise]) assert(label === 0 || label === 1, `label value ${label}, expected 0 or 1`)
  assert(value !== otherwise, 'both label values are the same')
  assert(!Number.isNaN(ripeUntilMs), 'ripeUntilMs is NaN')
  assert(Number.isInteger(featureCount) && featureCount > 0)
  const kept = createNewest(rowsMax)
  let vectors = new Float64Array(Math.min(rowsMax, 1024) * featureCount)
  /** By slot; made with the first label. */
  let isNamed: Uint8Array | null = null
  let predictions = 0
  let waiting = 0
  let labels = 0
  let labelled = 0
  let duplicateLabels = 0

  const makeRoom = (slot: number): void => {
    if ((slot + 1) * featureCount <= vectors.length) return
    const wider = new Float64Array(Math.min(rowsMax * featureCount, vectors.length * 2))
    wider.set(vectors)
    vectors = wider
  }

  return {
    addPrediction: ({ id, time, features }) => {
      assert(isNamed === null, 'a prediction after the first label')
      if (features.length !== featureCount)
        assert.fail(`vector of ${id} has ${features.length} values, not ${featureCount}`)
      predictions++
      if (time > ripeUntilMs) {
        waiting++
        return
      }
      const slot = kept.place(id, time)
      if (slot === null) return
      makeRoom(slot)
      vectors.set(features, slot * featureCount)
    },
    addLabel: (id) => {
      isNamed ??= new Uint8Array(kept.size())
      labels++
      const slot = kept.slotOf(id)
      if (slot === undefined) return
      if (isNamed[slot] === 1) duplicateLabels++
      else labelled++
      isNamed[slot] = 1
    },
    labelledRows: () => {
      const slots = kept.slotsByTime()
      const rows = new Float64Array(slots.length * featureCount)
      const rowLabels = new Uint8Array(slots.length)
      const times = new Float64Array(slots.length)
      slots.forEach((slot, row) => {
        rows.set(vectors.subarray(slot * featureCount, (slot + 1) * featureCount), row * featureCount)
        times[row] = kept.timeOf(slot)
        rowLabels[row] = isNamed?.[slot] === 1 ? value : otherwise
      })
      return { rows, labels: rowLabels, times, rowCount: slots.length, labelled }
    },
    counts: () => ({
      predictions,
      waiting,
      duplicatePredictions: kept.duplicates(),
      droppedPredictions: kept.dropped(),
      labels,
      duplicateLabels,
      labelsWithoutRow: labels - labelled - duplicateLabels,
    }),
  }
}
