/** Predictions and late labels in, labelled training rows out; filled from the logs by `train-inputs.ts`. Pure. */
import assert from 'node:assert/strict'
import { isLater, type LabelPosition, type Outcome } from '../../schemas/plan/label-outcome.ts'
import { createNewestIds, type NewestIds } from './newest-ids.ts'

export interface LabelJoinOptions {
  /** Length of every prediction's vector. */
  readonly featureCount: number
  /**
   * Event time, ms, up to which an event's label is due; −∞ while one of the inputs is empty. Known before the first
   * prediction, because the newest predictions are the ones that are not mature: kept, they would leave no room for those
   * that are.
   */
  readonly matureUntilMs: number
  /** Event time, ms, up to which an event that no label names is `otherwise`, a later one unknown as yet; `matureUntilMs` unless given. */
  readonly dueUntilMs?: number
  /** Label of events that no label names; null: unknown, so that they make no row. */
  readonly otherwise: 0 | 1 | null
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
  /** Added again while kept: the first is kept. */
  readonly duplicatePredictions: number
  /** Mature ones beyond `rowsMax`. */
  readonly droppedPredictions: number
  /** All that were added. */
  readonly labels: number
  /** Of a row that has a label already: a repetition, a correction or a withdrawal. The latest is used. */
  readonly duplicateLabels: number
  /** Of events without a row: not mature yet, dropped, or not scored. */
  readonly labelsWithoutRow: number
}

/**
 * All predictions first, then all labels: only labels of rows that are kept are stored, so that labels need no memory bound of their own.
 */
export interface LabelJoin {
  /** Time in ms since 1970. */
  addPrediction(prediction: { readonly id: string; readonly time: number; readonly features: ArrayLike<number> }): void
  /**
   * A label that came later than due still names its event; one that came early makes no row mature before its time, or
   * young events would be positives only. A withdrawn one leaves its event as if none named it.
   */
  addLabel(id: string, label: LabelPosition & { readonly outcome: Outcome }): void
  /** Memory: copies the rows once. */
  labelledRows(): LabelledRows
  counts(): LabelJoinCounts
}

interface JoinState extends Required<LabelJoinOptions> {
  readonly kept: NewestIds
  /** Row-major by slot. */
  vectors: Float64Array
  /** The latest label by slot; empty until the first came. */
  readonly latest: Map<number, LabelPosition & { readonly outcome: Outcome }>
  predictions: number
  waiting: number
  labels: number
  duplicateLabels: number
  labelsWithoutRow: number
}

export function createLabelJoin(options: LabelJoinOptions): LabelJoin {
  const { featureCount, matureUntilMs, otherwise, rowsMax } = options
  assert(otherwise === null || otherwise === 0 || otherwise === 1, `label value ${otherwise}, expected 0 or 1`)
  assert(!Number.isNaN(matureUntilMs), 'matureUntilMs is NaN')
  assert(Number.isInteger(featureCount) && featureCount > 0)
  const state: JoinState = {
    dueUntilMs: matureUntilMs,
    ...options,
    kept: createNewestIds(rowsMax),
    vectors: new Float64Array(Math.min(rowsMax, 1024) * featureCount),
    latest: new Map(),
    predictions: 0,
    waiting: 0,
    labels: 0,
    duplicateLabels: 0,
    labelsWithoutRow: 0,
  }
  return {
    addPrediction: (prediction) => addPrediction(state, prediction),
    addLabel: (id, label) => addLabel(state, id, label),
    labelledRows: () => labelledRows(state),
    counts: () => {
      const { kept, predictions, waiting, labels, duplicateLabels, labelsWithoutRow } = state
      const [duplicatePredictions, droppedPredictions] = [kept.duplicates(), kept.dropped()]
      return {
        ...{ predictions, waiting, duplicatePredictions, droppedPredictions },
        ...{ labels, duplicateLabels, labelsWithoutRow },
      }
    },
  }
}

function addPrediction(state: JoinState, { id, time, features }: Parameters<LabelJoin['addPrediction']>[0]): void {
  const { featureCount, matureUntilMs } = state
  assert(state.labels === 0, 'a prediction after the first label')
  if (features.length !== featureCount)
    assert.fail(`vector of ${id} has ${features.length} values, not ${featureCount}`)
  state.predictions++
  if (time > matureUntilMs) {
    state.waiting++
    return
  }
  const slot = state.kept.add(id, time)
  if (slot === null) return
  makeRoom(state, slot)
  state.vectors.set(features, slot * featureCount)
}

function makeRoom(state: JoinState, slot: number): void {
  const { featureCount, rowsMax, vectors } = state
  if ((slot + 1) * featureCount <= vectors.length) return
  state.vectors = new Float64Array(Math.min(rowsMax * featureCount, vectors.length * 2))
  state.vectors.set(vectors)
}

function addLabel(state: JoinState, id: string, label: Parameters<LabelJoin['addLabel']>[1]): void {
  state.labels++
  const slot = state.kept.slotOf(id)
  if (slot === undefined) {
    state.labelsWithoutRow++
    return
  }
  const before = state.latest.get(slot)
  if (before !== undefined) state.duplicateLabels++
  if (before === undefined || isLater(label, before)) state.latest.set(slot, label)
}

function labelledRows(state: JoinState): LabelledRows {
  const { kept, latest, vectors, featureCount } = state
  const slots = kept.slotsByTime().filter((slot) => labelOf(state, slot) !== null)
  const rows = new Float64Array(slots.length * featureCount)
  const labels = new Uint8Array(slots.length)
  const times = new Float64Array(slots.length)
  let labelled = 0
  slots.forEach((slot, row) => {
    if ((latest.get(slot)?.outcome ?? null) !== null) labelled++
    rows.set(vectors.subarray(slot * featureCount, (slot + 1) * featureCount), row * featureCount)
    times[row] = kept.timeOf(slot)
    labels[row] = labelOf(state, slot)!
  })
  return { rows, labels, times, rowCount: slots.length, labelled }
}

function labelOf({ kept, latest, dueUntilMs, otherwise }: JoinState, slot: number): Outcome {
  return latest.get(slot)?.outcome ?? (kept.timeOf(slot) <= dueUntilMs ? otherwise : null)
}
