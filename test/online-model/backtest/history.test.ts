/** The history against a plain list: what it holds, what it drops, what labels report. */
import { expect, test } from 'vitest'
import { createHistory } from '../../../online-model/backtest/history.ts'
import type { Outcome } from '../../../schemas/plan/label-outcome.ts'
import { createRandom } from '../../../testing/random.ts'

test('holds what came, by number and by id, and forgets what is old', () => {
  const seed = 21
  const random = createRandom(seed)
  const history = createHistory(2)
  const rows: Array<{ id: string; time: number; key: string; vector: number[]; outcome: Outcome; at: number }> = []
  let time = 0
  let withoutRow = 0
  for (let n = 0; n < 12_000; n++) {
    time += random.below(3)
    const row = { id: `e${n}`, time, key: `k${random.below(50)}`, vector: [n, random.next()] }
    rows.push({ ...row, outcome: null, at: Number.NaN })
    history.add(row)
    if (random.below(4) === 0) {
      const target = random.below(n + 1)
      const outcome = random.pick([0, 1, 1, null] as const)
      const labelled = history.label(`e${target}`, outcome, time)
      if (target < history.begin) {
        if (labelled !== null) expect.fail(`seed ${seed}: row ${target} is forgotten`)
        withoutRow++
      } else {
        if (labelled?.row !== target || labelled.before !== rows[target]!.outcome) {
          expect.fail(`seed ${seed}: label ${n} says ${JSON.stringify(labelled)}`)
        }
        Object.assign(rows[target]!, { outcome, at: outcome === null ? Number.NaN : time })
      }
    }
    if (n === 9_000) history.forgetBefore(rows[5_000]!.time)
  }
  expect(history.end).toBe(12_000)
  // Whole chunks are dropped, and nothing that is young enough.
  expect(history.begin).toBe(4_096)
  expect(withoutRow).toBeGreaterThan(100)
  const kept = Array.from({ length: history.end - history.begin }, (_, i) => history.begin + i)
  expect(
    kept.map((row) => [history.timeOf(row), ...history.vectorOf(row), history.outcomeOf(row), history.labelledAt(row)]),
  ).toEqual(kept.map((row) => [rows[row]!.time, ...rows[row]!.vector, rows[row]!.outcome, rows[row]!.at]))
  const codes = new Map(kept.map((row) => [rows[row]!.key, history.keyOf(row)]))
  expect(kept.every((row) => codes.get(rows[row]!.key) === history.keyOf(row))).toBe(true)
  expect(new Set(codes.values()).size).toBe(50)
  for (const at of [0, rows[4_500]!.time, rows[4_500]!.time + 0.5, time, time + 1]) {
    const first = rows.findIndex((row, i) => i >= history.begin && row.time >= at)
    expect(history.rowAt(at)).toBe(first === -1 ? history.end : first)
  }
  expect(() => history.timeOf(4_095)).toThrow('row 4095 is not kept: 4096 to 12000 are')
  expect(history.label('nobody', 1, time)).toBeNull()
})
