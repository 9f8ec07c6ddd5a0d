/**
 * Continuous learning: every mature row goes through the learner once, in maturity order (`seq`). The learner's state is saved with the
 * number of the last row in it, so that after a crash the same rows are learnt again from the same state. Called by steps 2 and 3.
 */
import assert from 'node:assert/strict'
import type { ModelWeights } from '../../schemas/models/models.ts'
import type { Model, OnlineLearner } from '../models/model.ts'
import type { MatureRows, TrainingStore } from '../training-store/store.ts'
import { createRecentScores, type ScoredRows } from './recent-scores.ts'

/** The name under which the store keeps the learner's state. */
export const learnerName = 'learner'

export interface ContinuousOptions {
  readonly store: Pick<TrainingStore, 'features' | 'state' | 'saveState'>
  readonly learner: NonNullable<Model['learner']>
  readonly seed: number
  /** Rows learnt between two saves. */
  readonly saveRows: number
  /** Newest rows that versions are evaluated on. */
  readonly recentRowsMax: number
}

export interface ContinuousLearning {
  /** `seq` of the newest row learnt from. */
  readonly upToSeq: number
  /** Event time of the newest row that this process learnt from, ms; null before the first. */
  readonly learntMs: number | null
  /**
   * Learns from the rows from index `from` on, which are in maturity order and later than `upToSeq`; ends after the first row of event time
   * `untilMs` or later. Resolves with the index of the first row that it did not take. Where it ends depends on the rows alone, not on how
   * they were split into batches.
   */
  learn(mature: MatureRows, from: number, untilMs: number): Promise<number>
  weights(): ModelWeights
  recent(): ScoredRows
  /** Vectors of the latest batch learnt from, row-major. */
  vectors(): Float64Array
  save(): Promise<void>
  close(): void
}

export async function openContinuous(options: ContinuousOptions): Promise<ContinuousLearning> {
  const { store, seed, saveRows } = options
  const saved = await store.state(learnerName)
  const state = saved === null ? null : Buffer.from(saved.bytes)
  const learner: OnlineLearner = await options.learner(store.features, { seed, state })
  const recent = createRecentScores(options.recentRowsMax)
  const width = store.features.length
  let upToSeq = saved?.upToSeq ?? 0
  let savedSeq = upToSeq
  let learntMs: number | null = null
  let vectors: Float64Array = new Float64Array(0)
  let unsaved = 0

  async function learn(mature: MatureRows, from: number, untilMs: number): Promise<number> {
    let row = from
    for (let isCut = false; row < mature.rowCount && !isCut; row++) {
      learnRow(mature, row)
      isCut = mature.times[row]! >= untilMs
    }
    if (row === from) return row
    upToSeq = mature.seqs[row - 1]!
    vectors = mature.rows
    learntMs = Math.max(learntMs ?? Number.NEGATIVE_INFINITY, mature.times[row - 1]!)
    unsaved += row - from
    if (unsaved >= saveRows) await save()
    return row
  }

  function learnRow(mature: MatureRows, row: number): void {
    const vector = mature.rows.subarray(row * width, (row + 1) * width)
    const label = mature.labels[row]!
    assert(label === 0 || label === 1)
    const weight = mature.weights[row]!
    // Before it learns from the row, so that the score is of an event that it has not seen.
    const candidate = learner.predict(vector)
    const [key, version] = [mature.keys[row]!, mature.versions[row]!]
    recent.add({ label, time: mature.times[row]!, weight, served: mature.scores[row]!, candidate, key, version })
    learner.learn(vector, label, weight)
  }

  async function save(): Promise<void> {
    if (upToSeq === savedSeq) return
    await store.saveState(learnerName, { upToSeq, bytes: learner.save() })
    savedSeq = upToSeq
    unsaved = 0
  }

  return {
    get upToSeq() {
      return upToSeq
    },
    get learntMs() {
      return learntMs
    },
    learn,
    weights: () => learner.weights(),
    recent: () => recent.rows(),
    vectors: () => vectors,
    save,
    close: () => learner.close(),
  }
}
