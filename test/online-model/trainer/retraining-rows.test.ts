/** What a retraining is trained on and what is held out for the evaluation, from a fake store. */
import { expect, test } from 'vitest'
import { retrainRows } from '../../../online-model/trainer/retraining-rows.ts'
import type { MatureRows, TimeSpan } from '../../../online-model/training-store/store.ts'

const dayMs = 86_400_000
const width = 2

/** One row an hour; every `positiveEvery`-th is a positive. */
function storeOf(rowCount: number, positiveEvery: number, weight = 1) {
  const asked: Array<TimeSpan & { readonly label: string }> = []
  const all = Array.from({ length: rowCount }, (_, row) => row)
  return {
    asked,
    features: ['amount', 'count'],
    async rows(span: TimeSpan, label: 'due' | 'latest'): Promise<MatureRows> {
      asked.push({ ...span, label })
      const kept = all.filter((row) => row * 3_600_000 >= span.fromMs && row * 3_600_000 < span.untilMs)
      const column = (of: (row: number) => number) => Float64Array.from(kept, of)
      return {
        rowCount: kept.length,
        ids: kept.map(String),
        times: column((row) => row * 3_600_000),
        rows: Float64Array.from(kept.flatMap((row) => [row, -row])),
        labels: Uint8Array.from(kept, (row) => Number(row % positiveEvery === 0)),
        weights: column(() => weight),
        scores: column(() => 0.5),
        versions: kept.map(() => 'v1'),
        keys: kept.map(() => 'k'),
        labelTimes: column(() => Number.NaN),
        shadows: kept.map(() => []),
        seqs: column((row) => row + 1),
      }
    },
  }
}

test('the newest rows with 150 positives are held out, the rest is trained on', async () => {
  const store = storeOf(2_000, 2)
  const found = await retrainRows(store, 1_999 * 3_600_000, null)
  expect(store.asked).toEqual([{ fromMs: Number.MIN_SAFE_INTEGER, untilMs: 1_999 * 3_600_000 + 1, label: 'latest' }])
  // Rows 1,700 to 1,999 hold 150 even ones.
  expect(found!.span).toEqual({ fromMs: 0, heldOutFromMs: 1_700 * 3_600_000, untilMs: 1_999 * 3_600_000 + 1 })
  expect(found!.training.rowCount).toBe(1_700)
  expect(found!.positives).toBe(850)
  expect([...found!.training.rows.slice(-width)]).toEqual([1_699, -1_699])
  expect(found!.training.weights).toBeNull()
  expect(found!.heldOut.rowCount).toBe(300)
  expect([...found!.heldOut.rows.slice(0, width)]).toEqual([1_700, -1_700])
  expect(found!.heldOut.ids[0]).toBe('1700')
})

test('where positives are rare, no more than a fifth is held out', async () => {
  const found = await retrainRows(storeOf(1_000, 100, 4), 999 * 3_600_000, null)
  expect(found!.training.rowCount).toBe(800)
  expect(found!.heldOut.rowCount).toBe(200)
  expect([...new Set(found!.training.weights)]).toEqual([4])
})

test('the span ends with what is mature and reaches as far back as configured', async () => {
  const store = storeOf(2_000, 2)
  const found = await retrainRows(store, 1_000 * 3_600_000, 10 * dayMs)
  expect(store.asked[0]).toMatchObject({ fromMs: 1_000 * 3_600_000 + 1 - 10 * dayMs, untilMs: 1_000 * 3_600_000 + 1 })
  expect(found!.training.rowCount + found!.heldOut.rowCount).toBe(240)
  expect([...found!.training.rows.slice(0, width)]).toEqual([761, -761])
})

test('without a mature row there is nothing to train on', async () => {
  expect(await retrainRows(storeOf(0, 2), 5, null)).toBeNull()
  expect(await retrainRows(storeOf(9, 2), Number.NEGATIVE_INFINITY, null)).toBeNull()
})
