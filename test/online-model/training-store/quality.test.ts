/** Reports of an evaluation in the store: its rows as read by SQL, with the last report's groups and no older ones. */
import { expect, test } from 'vitest'
import { dayMs, evaluate, type ServedRows } from '../../../online-model/evaluation/evaluate.ts'
import type { MatureRows } from '../../../online-model/training-store/store.ts'
import { batchOf, hourMs, label, openStore, prediction, startMs } from './store-fixture.ts'

/** What a model scored; `scoreOf` is NaN elsewhere. */
function scoredRows(mature: MatureRows, scoreOf: (row: number) => number, versionNames: string[]): ServedRows {
  const of = Int32Array.from(mature.ids.keys()).filter((row) => !Number.isNaN(scoreOf(row)))
  return {
    labels: Uint8Array.from(of, (row) => mature.labels[row]!),
    scores: Float64Array.from(of, scoreOf),
    times: Float64Array.from(of, (row) => mature.times[row]!),
    versions: Int32Array.from(of, (row) => Math.max(0, versionNames.indexOf(mature.versions[row]!))),
    versionNames,
    keys: Int32Array.from(of, (row) => Number(mature.keys[row]!.slice('user'.length))),
    labelDelays: Float64Array.from(of, (row) => mature.labelTimes[row]! - mature.times[row]!),
    weights: Float64Array.from(of, (row) => mature.weights[row]!),
  }
}

const served = (mature: MatureRows) => scoredRows(mature, (row) => mature.scores[row]!, ['v0', 'v1'])
const shadow = (mature: MatureRows) => scoredRows(mature, (row) => mature.shadows[row]![0]?.score ?? Number.NaN, ['v9'])

const options = { threshold: 0.3, k: 2, rollingMs: dayMs }

test('a report of the rows that matured is read by SQL', async () => {
  const store = await openStore()
  const rows = Array.from({ length: 40 }, (_, n) =>
    prediction(`e${n}`, n * 3_600, { offset: n, shadow: n % 2 === 0 ? [{ version: 'v9', score: 0.5 }] : [] }),
  )
  const labels = [3, 5, 6, 21].map((n, offset) => label(`e${n}`, n * 3_600 + 60, { offset }))
  await store.apply(batchOf(rows, [...labels, label('nobody', 200 * 3_600, { offset: 4 })]))
  const mature = await store.rows({ fromMs: 0, untilMs: startMs + 100 * hourMs }, 'latest')
  const champion = evaluate(served(mature), { ...options, champion: { version: 'v1', sinceMs: 0 } })
  await store.saveQuality('champion', champion)
  await store.saveQuality('challenger', evaluate(shadow(mature), options))

  const [all] = champion.groups
  // Three of four were scored, all but those without a model; the last hour is not mature.
  expect(all!.quality).toMatchObject({ rows: 29, positives: 4 })
  const measures =
    'rows::DOUBLE, positives::DOUBLE, average_precision, auc, log_loss, precision_at_k, calibration_error'
  const { averagePrecision, auc, logLoss, precisionAtK, calibrationError } = all!.quality
  expect(await store.query(`SELECT ${measures} FROM quality WHERE role = 'champion' AND grouped_by = 'all'`)).toEqual([
    [29, 4, averagePrecision, auc, logLoss, precisionAtK, calibrationError],
  ])
  const groups = `SELECT grouped_by || ' ' || name FROM quality WHERE role = $role ORDER BY rowid`
  const named = (report: typeof champion) => report.groups.map(({ by, name }) => [`${by} ${name}`])
  expect(await store.query(groups, { role: 'champion' })).toEqual(named(champion))
  expect((await store.query(groups, { role: 'challenger' })).flat()).toContain('version v9')

  // The next report leaves nothing of this one but the days that it does not contain.
  const lastDay = await store.rows({ fromMs: startMs + 24 * hourMs, untilMs: startMs + 100 * hourMs }, 'latest')
  const next = evaluate(served(lastDay), options)
  await store.saveQuality('champion', next)
  const left = (await store.query(groups, { role: 'champion' })).flat()
  expect(left.toSorted()).toEqual(['day 2024-01-01', ...named(next).flat()].toSorted())
  expect((await store.query(groups, { role: 'challenger' })).flat()).toContain('version v9')
})
