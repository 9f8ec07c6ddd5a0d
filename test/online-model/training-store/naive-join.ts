/** The expected contents of a training store, computed from the whole logs in the simplest way; the oracle of its property test. */
import type { LabelRow, PredictionRow } from '../../../online-model/training-store/apply.ts'
import { isLater } from '../../../schemas/plan/label-outcome.ts'

export interface NaiveRow {
  readonly id: string
  readonly time: number
  /** Offset of the prediction that is kept. */
  readonly offset: number
  readonly due: 0 | 1
  readonly latest: 0 | 1
}

/** All events up to `untilMs` by (time, id). */
export function naiveJoin(
  predictions: readonly PredictionRow[],
  labels: readonly LabelRow[],
  { untilMs, afterMs }: { readonly untilMs: number; readonly afterMs: number },
): NaiveRow[] {
  const first = new Map<string, PredictionRow>()
  for (const row of predictions) {
    const key = `${row.prediction.time} ${row.prediction.id}`
    if (!first.has(key)) first.set(key, row)
  }
  const outcome = (id: string, upToMs: number): 0 | 1 => {
    let held: LabelRow | null = null
    for (const row of labels) {
      if (row.label.id !== id || row.label.time > upToMs) continue
      if (held === null || isLater({ ...row, time: row.label.time }, { ...held, time: held.label.time })) held = row
    }
    return held?.label.outcome ?? 0
  }
  return [...first.values()]
    .filter(({ prediction }) => prediction.time <= untilMs)
    .map(({ offset, prediction: { id, time } }) => {
      return { id, time, offset, due: outcome(id, time + afterMs), latest: outcome(id, Number.POSITIVE_INFINITY) }
    })
    .sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
}
