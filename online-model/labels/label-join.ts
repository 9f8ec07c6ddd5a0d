/** Predictions and late labels in, labelled training rows out; the trainer feeds it from the logged streams. Pure. */
import assert from 'node:assert/strict'
import { isLater, type LabelPlace, type Outcome } from '../../schemas/plan/label-outcome.ts'
import { createNewestIds } from './newest-ids.ts'

export interface LabelJoinOptions {
  /** Length of every prediction's vector. */
  readonly featureCount: number
  /**
   * Event time, ms, up to which an event's label is due; −∞ while one of the inputs is empty. Known before the first
   * prediction, because the newest predictions are the ones that are not mature: kept, they would leave no room for those
   * that are.
   */
  readonly matureUntilMs: number
  /** Label (0 or 1) of events that no label names. */
  readonly otherwise: number
  /** Mature predictions kept: the newest by event time. */
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
  /** Rows that a label names which was not withdrawn. */
  readonly labelled: number
}

export interface LabelJoinCounts {
  /** All that were added: mature or not, kept or not. */
  readonly predictions: number
  /** Not mature, with a label or without; not kept, so one that comes twice counts twice. */
  readonly waiting: number
  /** Seen again while kept: the first wins. */
  readonly duplicatePredictions: number
  /** Mature ones beyond `rowsMax`. */
  readonly droppedPredictions: number
  /** All that were added. */
  readonly labels: number
  /** Of a row that was named before: the same once more, a correction or a withdrawal. The latest holds. */
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
   * A label that came later than due still names its event; one that came early makes no row mature before its time, or
   * young events would be positives only. A withdrawn one leaves its event as if none named it.
   */
  addLabel(id: string, label: LabelPlace & { readonly outcome: Outcome }): void
  /** Memory: copies the rows once. */
  labelledRows(): LabelledRows
  counts(): LabelJoinCounts
}

export function createLabelJoin(options: LabelJoinOptions): LabelJoin {
  const { featureCount, matureUntilMs, otherwise, rowsMax } = options
  assert(otherwise === 0 || otherwise === 1, `label value ${otherwise}, expected 0 or 1`)
  assert(!Number.isNaN(matureUntilMs), 'matureUntilMs is NaN')
  assert(Number.isInteger(featureCount) && featureCount > 0)
  const kept = createNewestIds(rowsMax)
  let vectors = new Float64Array(Math.min(rowsMax, 1024) * featureCount)
  /** The latest label by slot; empty until the first came. */
  const latest = new Map<number, LabelPlace & { readonly outcome: Outcome }>()
  let predictions = 0
  let waiting = 0
  let labels = 0
  let duplicateLabels = 0
  let labelsWithoutRow = 0

  const makeRoom = (slot: number): void => {
    if ((slot + 1) * featureCount <= vectors.length) return
    const wider = new Float64Array(Math.min(rowsMax * featureCount, vectors.length * 2))
    wider.set(vectors)
    vectors = wider
  }

  return {
    addPrediction: ({ id, time, features }) => {
      assert(labels === 0, 'a prediction after the first label')
      if (features.length !== featureCount)
        assert.fail(`vector of ${id} has ${features.length} values, not ${featureCount}`)
      predictions++
      if (time > matureUntilMs) {
        waiting++
        return
      }
      const slot = kept.place(id, time)
      if (slot === null) return
      makeRoom(slot)
      vectors.set(features, slot * featureCount)
    },
    addLabel: (id, label) => {
      labels++
      const slot = kept.slotOf(id)
      if (slot === undefined) {
        labelsWithoutRow++
        return
      }
      const before = latest.get(slot)
      if (before !== undefined) duplicateLabels++
      if (before === undefined || isLater(label, before)) latest.set(slot, label)
    },
    labelledRows: () => {
      const slots = kept.slotsByTime()
      const rows = new Float64Array(slots.length * featureCount)
      const rowLabels = new Uint8Array(slots.length)
      const times = new Float64Array(slots.length)
      let labelled = 0
      slots.forEach((slot, row) => {
        const outcome = latest.get(slot)?.outcome ?? null
        if (outcome !== null) labelled++
        rows.set(vectors.subarray(slot * featureCount, (slot + 1) * featureCount), row * featureCount)
        times[row] = kept.timeOf(slot)
        rowLabels[row] = outcome ?? otherwise
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
      labelsWithoutRow,
    }),
  }
}
