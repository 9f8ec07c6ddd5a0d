/** Served rows into a report: each group's measures are those of its rows alone, everything is bounded, and it is shown as it is. */
import { Registry } from 'prom-client'
import { describe, expect, test } from 'vitest'
import {
  columnOf,
  dayMs,
  type EvaluationOptions,
  evaluate,
  quantileBounds,
  type ServedRows,
} from '../../../online-model/evaluation/evaluate.ts'
import { createEvaluationGauges } from '../../../online-model/evaluation/gauges.ts'
import { atThreshold, measure } from '../../../online-model/evaluation/metrics.ts'
import { precisionAtK } from '../../../online-model/evaluation/precision-at-k.ts'
import { reportCells } from '../../../online-model/evaluation/report.ts'
import { createRandom } from '../../../testing/random.ts'

const firstDay = 19_000
const options: EvaluationOptions = { threshold: 0.5, k: 3, rollingMs: 2 * dayMs }

/** Ten days in order of time; version v1 until day 4, then v2; a positive is labelled after 1 to 6 days. */
function served(seed: number, count = 600, weighted = false): ServedRows {
  const random = createRandom(seed)
  const times = Float64Array.from({ length: count }, () => (firstDay + 10 * random.next()) * dayMs).sort()
  const labels = Uint8Array.from(times, () => Number(random.next() < 0.15))
  return {
    labels,
    scores: Float64Array.from(labels, (label) => Math.round(100 * (0.6 * random.next() + 0.3 * label)) / 100),
    times,
    versions: Int32Array.from(times, (time) => (time < (firstDay + 4) * dayMs ? 0 : 1)),
    versionNames: ['v1', 'v2', 'v3'],
    keys: Int32Array.from(times, () => random.below(40)),
    labelDelays: Float64Array.from(labels, (label) => (label === 1 ? (1 + 5 * random.next()) * dayMs : Number.NaN)),
    weights: weighted ? Float64Array.from(labels, (label) => (label === 1 ? 1 : 1 + random.below(5))) : null,
  }
}

/** The rows that pass, as rows of their own. */
function only(rows: ServedRows, isIn: (row: number) => boolean): ServedRows {
  const keep = (_: number, row: number) => isIn(row)
  return {
    labels: rows.labels.filter(keep),
    scores: rows.scores.filter(keep),
    times: rows.times.filter(keep),
    versions: rows.versions.filter(keep),
    versionNames: rows.versionNames,
    keys: rows.keys.filter(keep),
    labelDelays: rows.labelDelays.filter(keep),
    weights: rows.weights?.filter(keep) ?? null,
  }
}

function naiveQuality(rows: ServedRows, k: number | null) {
  const weights = { weights: rows.weights }
  const days = rows.times.map((time) => Math.floor(time / dayMs))
  const { flagged: _, ...flags } = atThreshold(rows.labels, rows.scores, options.threshold, weights)
  return {
    rows: rows.labels.length,
    positives: rows.labels.reduce((sum, label) => sum + label, 0),
    ...measure(rows.labels, rows.scores, weights),
    ...flags,
    precisionAtK: k === null ? null : precisionAtK({ ...rows, days }, k, weights).mean,
  }
}

describe('a report', () => {
  test.each([
    ['', false],
    [', with weights', true],
  ])('measures each group by its rows alone%s', (_, weighted) => {
    const rows = served(3, 600, weighted)
    const values = Float64Array.from(rows.times, (_, row) => (row % 7 === 0 ? Number.NaN : row % 100))
    const report = evaluate(rows, {
      ...options,
      champion: { version: 'v2', sinceMs: (firstDay + 5) * dayMs },
      slices: [{ name: 'amount', values, bounds: [20, 50] }],
      delayBounds: [2 * dayMs, 4 * dayMs],
    })
    const newest = rows.times.at(-1)!
    const dayOf = (row: number) => Math.floor(rows.times[row]! / dayMs) - firstDay
    const delayIn = (from: number, until: number) => (row: number) =>
      rows.labels[row] === 0 || (rows.labelDelays[row]! >= from * dayMs && rows.labelDelays[row]! < until * dayMs)
    const expected: Record<string, [(row: number) => boolean, number | null]> = {
      'all ': [() => true, 3],
      'rolling 2 d': [(row) => rows.times[row]! > newest - 2 * dayMs, 3],
      'promotion v2': [(row) => dayOf(row) >= 5, 3],
      'version v2': [(row) => dayOf(row) >= 4, 3],
      'version v1': [(row) => dayOf(row) < 4, 3],
      ...Object.fromEntries(
        Array.from({ length: 10 }, (_, i) => {
          const name = new Date((firstDay + 9 - i) * dayMs).toISOString().slice(0, 10)
          return [`day ${name}`, [(row: number) => dayOf(row) === 9 - i, 3]]
        }),
      ),
      'slice amount < 20': [(row) => values[row]! < 20, null],
      'slice amount 20..50': [(row) => values[row]! >= 20 && values[row]! < 50, null],
      'slice amount >= 50': [(row) => values[row]! >= 50, null],
      'slice amount missing': [(row) => Number.isNaN(values[row]), null],
      'delay < 2 d': [delayIn(0, 2), null],
      'delay 2 d..4 d': [delayIn(2, 4), null],
      'delay >= 4 d': [delayIn(4, 99), null],
    }
    expect(report.groups.map(({ by, name }) => `${by} ${name}`)).toEqual(Object.keys(expected))
    for (const { by, name, fromMs, untilMs, quality } of report.groups) {
      const [isIn, k] = expected[`${by} ${name}`]!
      const alone = only(rows, isIn)
      const naive = naiveQuality(alone, k)
      expect(alone.labels.length, name).toBeGreaterThan(0)
      expect([fromMs, untilMs]).toEqual([alone.times[0], alone.times.at(-1)])
      for (const [measure, value] of Object.entries(naive)) {
        const received = quality[measure as keyof typeof quality]
        if (value === null || Number.isNaN(value)) expect(received, `${name} ${measure}`).toBeNull()
        else expect(received, `${name} ${measure}`).toBeCloseTo(value, 12)
      }
    }
    expect(JSON.parse(JSON.stringify(report))).toEqual(report)
  })

  test('leaves out the oldest days and versions and reports how many', () => {
    const report = evaluate(served(4), { ...options, daysMax: 3, versionsMax: 1 })
    expect(report.leftOut).toEqual({ versions: 1, days: 7 })
    expect(report.groups.filter(({ by }) => by === 'version').map(({ name }) => name)).toEqual(['v2'])
    expect(report.groups.filter(({ by }) => by === 'day')).toHaveLength(3)
  })

  test('has no figures where rows do not allow any', () => {
    const none = evaluate(
      only(served(5), () => false),
      { ...options, champion: { version: 'v9', sinceMs: 0 } },
    )
    expect(none.groups.map(({ by, quality }) => [by, quality.rows])).toEqual([
      ['all', 0],
      ['rolling', 0],
      ['promotion', 0],
    ])
    const rows = served(5)
    const negatives = evaluate(
      only(rows, (row) => rows.labels[row] === 0 && rows.scores[row]! < 0.5),
      options,
    )
    const { averagePrecision, auc, precision, recall, f1, brier, precisionAtK: atK } = negatives.groups[0]!.quality
    expect([averagePrecision, auc, precision, recall, f1, atK]).toEqual([null, null, null, null, null, 0])
    expect(brier).toBeGreaterThan(0)
  })

  test('rejects columns and bounds that do not fit', () => {
    const rows = served(6, 50)
    expect(() => evaluate({ ...rows, keys: rows.keys.subarray(1) }, options)).toThrow('49 keys for 50 labels')
    const slice = { name: 'amount', values: rows.times }
    expect(() => evaluate(rows, { ...options, slices: [{ ...slice, bounds: [2, 2] }] })).toThrow(
      'slice amount: bound 2 does not follow 2',
    )
    const many = Array.from({ length: 20 }, (_, i) => i)
    expect(() => evaluate(rows, { ...options, slices: [{ ...slice, bounds: many }] })).toThrow(
      'slice amount: 20 bounds, expected fewer than 20',
    )
    const slices = Array.from({ length: 17 }, () => ({ ...slice, bounds: [] }))
    expect(() => evaluate(rows, { ...options, slices })).toThrow('17 slices, expected at most 16')
  })
})

test('quantiles deal a column evenly, and fewer ways where values repeat', () => {
  const values = Float64Array.from({ length: 1_000 }, (_, i) => (i * 7) % 1_000)
  expect(quantileBounds(values, 4)).toEqual([250, 500, 750])
  expect(quantileBounds([0, 0, 0, 0, 1, Number.NaN], 4)).toEqual([])
  expect(quantileBounds([0, 0, 1, 1, 1, 1, 1], 4)).toEqual([1])
  expect(quantileBounds([], 4)).toEqual([])
  expect(columnOf(Float64Array.of(1, 2, 3, 4, 5, 6), 3, 1)).toEqual(Float64Array.of(2, 5))
})

test('a table for the terminal has a line a group', () => {
  const report = evaluate(
    only(served(7), (row) => row < 200),
    options,
  )
  const cells = reportCells(report, ['all', 'version'])
  expect(cells[0]).toEqual(
    'by name rows positives AP AUC log-loss Brier ECE precision@0.5 recall@0.5 F1@0.5 P@3'.split(' '),
  )
  expect(cells.map((line) => line.slice(0, 3))).toEqual([
    ['by', 'name', 'rows'],
    ['all', '', '200'],
    ['version', 'v1', '200'],
  ])
  expect(cells[1]!.slice(4)).toEqual(cells[2]!.slice(4))
  expect(cells[1]![4]).toBe(report.groups[0]!.quality.averagePrecision!.toFixed(4))
})

test('gauges show the last report of each role and nothing that was removed', async () => {
  const registry = new Registry()
  const gauges = createEvaluationGauges(registry)
  const rows = served(8)
  const champion = { version: 'v2', sinceMs: (firstDay + 4) * dayMs }
  gauges.show('champion', evaluate(rows, { ...options, champion }))
  const lines = async (start: string) => (await registry.metrics()).split('\n').filter((line) => line.startsWith(start))
  expect(await lines('millrace_model_evaluated_rows{')).toEqual([
    'millrace_model_evaluated_rows{role="champion",by="all",name=""} 600',
    expect.stringContaining('by="rolling",name="2 d"'),
    expect.stringContaining('by="promotion",name="v2"'),
    expect.stringContaining('by="version",name="v2"'),
    expect.stringContaining('by="version",name="v1"'),
  ])
  expect(await lines('millrace_model_precision_at_k{')).toHaveLength(5)

  gauges.show(
    'challenger',
    evaluate(
      only(rows, (row) => row < 100),
      options,
    ),
  )
  gauges.show(
    'champion',
    evaluate(
      only(rows, (row) => row >= 500),
      options,
    ),
  )
  const [first] = evaluate(
    only(rows, (row) => row >= 500),
    options,
  ).groups
  expect(await lines('millrace_model_average_precision{role="champion",by="all"')).toEqual([
    `millrace_model_average_precision{role="champion",by="all",name=""} ${first!.quality.averagePrecision}`,
  ])
  expect((await lines('millrace_model_evaluated_rows{')).map((line) => line.split('{')[1]!.split('}')[0])).toEqual([
    'role="challenger",by="all",name=""',
    'role="challenger",by="rolling",name="2 d"',
    'role="challenger",by="version",name="v1"',
    'role="champion",by="all",name=""',
    'role="champion",by="rolling",name="2 d"',
    'role="champion",by="version",name="v2"',
  ])

  // A measure that there is none of is not shown, rather than as 0.
  gauges.show(
    'champion',
    evaluate(
      only(rows, (row) => rows.labels[row] === 0),
      options,
    ),
  )
  expect(await lines('millrace_model_average_precision{role="champion"')).toEqual([])
})

test('versions in Prometheus are bounded', async () => {
  const rows = served(9)
  const versionNames = Array.from({ length: 30 }, (_, i) => `v${i}`)
  const versions = Int32Array.from(rows.times, (_, row) => Math.floor(row / 20))
  const registry = new Registry()
  createEvaluationGauges(registry).show('champion', evaluate({ ...rows, versions, versionNames }, options))
  const text = await registry.metrics()
  expect([...text.matchAll(/evaluated_rows\{.*by="version",name="(v\d+)"/g)].map(([, name]) => name)).toEqual([
    'v29',
    'v28',
    'v27',
    'v26',
    'v25',
  ])
})
