/** The expected contents of a training store, computed from the whole logs in the simplest way; the oracle of its property test. */
import type { LabelRow, PredictionRow } from '../../../online-model/training-store/apply.ts'
import { isLater } from '../../../schemas/plan/label-outcome.ts'

export interface NaiveRow {
  readonly id: string
  readonly time: number
  /** Offset of the prediction that is kept. */
  readonly offset: number
  /** When it matured, event time. */
  readonly atMs: number
  readonly due: 0 | 1
  /** Null: withdrawn since, so that it is unknown. */
  readonly latest: 0 | 1 | null
}

export interface NaiveRules {
  /** Event time that both inputs have passed. */
  readonly watermarkMs: number
  readonly afterMs: number
  readonly waitMs: number
  readonly otherwise: 0 | null
}

/** All mature events by the instant at which they matured, then (time, id). */
export function naiveJoin(
  predictions: readonly PredictionRow[],
  labels: readonly LabelRow[],
  rules: NaiveRules,
): NaiveRow[] {
  const first = new Map<string, PredictionRow>()
  for (const row of predictions) {
    const key = `${row.prediction.time} ${row.prediction.id}`
    if (!first.has(key)) first.set(key, row)
  }
  const outcome = (id: string, upToMs: number): 0 | 1 | null => {
    let held: LabelRow | null = null
    for (const row of labels) {
      if (row.label.id !== id || row.label.time > upToMs) continue
      if (held === null || isLater({ ...row, time: row.label.time }, { ...held, time: held.label.time })) held = row
    }
    return held?.label.outcome ?? null
  }
  /** Tries every instant at which anything happens to the event, in order. */
  const matures = (id: string, time: number): { atMs: number; due: 0 | 1 } | null => {
    const { watermarkMs, afterMs, waitMs, otherwise } = rules
    const from = time + waitMs
    const reports = labels.filter(({ label }) => label.id === id && label.time > from).map(({ label }) => label.time)
    const dueAt = otherwise === null ? [] : [time + afterMs]
    for (const atMs of [from, ...reports, ...dueAt].sort((a, b) => a - b)) {
      if (atMs > watermarkMs) return null
      const known = outcome(id, atMs)
      if (known !== null) return { atMs, due: known }
      if (otherwise !== null && atMs === time + afterMs) return { atMs, due: otherwise }
    }
    return null
  }
  return [...first.values()]
    .flatMap(({ offset, prediction: { id, time } }) => {
      const mature = matures(id, time)
      const latest = outcome(id, Number.POSITIVE_INFINITY) ?? rules.otherwise
      return mature === null ? [] : [{ id, time, offset, ...mature, latest }]
    })
    .sort((a, b) => a.atMs - b.atMs || a.time - b.time || (a.id < b.id ? -1 : 1))
}
