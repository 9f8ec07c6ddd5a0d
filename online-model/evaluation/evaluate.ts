/**
 * Predictions as they were served and the labels that matured for them in, a report of how good the scores were out: prequential, for
 * every label came after its score. Called by the trainer on its mature rows and by the backtest. Pure.
 */
import assert from 'node:assert/strict'
import { atThreshold, calibrationBins, measure, ranked } from './metrics.ts'
import { precisionAtK } from './precision-at-k.ts'
import type { EvaluationReport, GroupKind, Quality, QualityGroup } from './report.ts'

/**
 * One entry a row in every column. Only mature rows belong here: a label that came early makes no row mature before its time, or the newest
 * days would be positives only.
 */
export interface ServedRows {
  /** One of 0 and 1. */
  readonly labels: Uint8Array
  /** As served, probabilities of 1. */
  readonly scores: Float64Array
  /** Event times, ms. */
  readonly times: Float64Array
  /** Model that gave each score: index in `versionNames`. */
  readonly versions: Int32Array
  readonly versionNames: readonly string[]
  /** Code of the entity whose alerts are counted a day, such as the card's. */
  readonly keys: Int32Array
  /** How long after the event its label came, ms; NaN where none named it and its time ran out. */
  readonly labelDelays: Float64Array
  /** Sample weights, where negatives represent several; null: 1 each. */
  readonly weights: Float64Array | null
}

/** Rows are dealt by a column of numbers: buckets [−∞, first), [first, second) … [last, ∞), and one for what is missing. */
export interface Slice {
  readonly name: string
  readonly values: ArrayLike<number>
  /** Ascending. */
  readonly bounds: readonly number[]
}

export interface EvaluationOptions {
  /** Score from which on an event counts as flagged. */
  readonly threshold: number
  /** Entities investigated per day. */
  readonly k: number
  /** Event time before the newest row that `rolling` covers, ms. */
  readonly rollingMs: number
  /** The version that scores now, and the event time since which it does. */
  readonly champion?: { readonly version: string; readonly sinceMs: number } | null
  readonly slices?: readonly Slice[]
  /** Ascending, ms: positives are dealt by how late their label came, each group beside all negatives. */
  readonly delayBounds?: readonly number[]
  /** The newest of each are reported. */
  readonly versionsMax?: number
  readonly daysMax?: number
}

export const dayMs = 86_400_000
const slicesMax = 16
const bucketsMax = 20

export function evaluate(rows: ServedRows, options: EvaluationOptions): EvaluationReport {
  const {
    threshold,
    k,
    rollingMs,
    champion = null,
    slices = [],
    delayBounds = [],
    versionsMax = 20,
    daysMax = 60,
  } = options
  requireColumns(rows)
  assert(slices.length <= slicesMax, `${slices.length} slices, expected at most ${slicesMax}`)
  const order = ranked(rows.scores)
  const days = Int32Array.from(rows.times, (time) => Math.floor(time / dayMs))
  const newest = rows.times.reduce((max, time) => Math.max(max, time), Number.NEGATIVE_INFINITY)

  const group = (by: GroupKind, name: string, part: Uint32Array, hasWholeDays = true): QualityGroup => ({
    by,
    name,
    ...span(rows.times, part),
    quality: qualityOf(rows, days, part, { threshold, k: hasWholeDays ? k : null }),
  })
  const rolling = order.filter((row) => rows.times[row]! > newest - rollingMs)
  const groups = [group('all', '', order), group('rolling', `${formatDays(rollingMs)} d`, rolling)]
  if (champion) {
    const version = rows.versionNames.indexOf(champion.version)
    const since = order.filter((row) => rows.versions[row] === version && rows.times[row]! >= champion.sinceMs)
    groups.push(group('promotion', champion.version, since))
  }

  // Newest first, so that the bounds leave out the oldest.
  const versions = dealt(order, (row) => rows.versions[row]!).map(([version, part]) =>
    group('version', rows.versionNames[version]!, part),
  )
  versions.sort((a, b) => b.untilMs! - a.untilMs!)
  const byDay = dealt(order, (row) => days[row]!).sort(([a], [b]) => b - a)
  const dayGroups = byDay.slice(0, daysMax).map(([day, part]) => group('day', dayName(day), part))
  groups.push(...versions.slice(0, versionsMax), ...dayGroups)
  for (const slice of slices) groups.push(...sliceGroups(rows, slice, order, group))
  if (delayBounds.length > 0) groups.push(...delayGroups(rows, delayBounds, order, group))
  return {
    threshold,
    k,
    calibrationBins,
    rollingMs,
    groups,
    leftOut: {
      versions: Math.max(0, versions.length - versionsMax),
      days: byDay.length - dayGroups.length,
    },
  }
}

/** Bounds that deal the values into about `buckets` groups of equal size; fewer where values repeat. For `Slice.bounds`. */
export function quantileBounds(values: ArrayLike<number>, buckets: number): number[] {
  const present = Float64Array.from(values).filter((value) => !Number.isNaN(value))
  present.sort()
  const bounds = new Set<number>()
  for (let i = 1; i < buckets && present.length > 0; i++) {
    const bound = present[Math.floor((i * present.length) / buckets)]!
    // Nothing is below the least value.
    if (bound > present[0]!) bounds.add(bound)
  }
  return [...bounds]
}

/** One feature of row-major vectors as a column, for `Slice.values`. */
export function columnOf(vectors: Float64Array, width: number, column: number): Float64Array {
  const values = new Float64Array(vectors.length / width)
  for (let row = 0; row < values.length; row++) values[row] = vectors[row * width + column]!
  return values
}

export function qualityOf(
  rows: ServedRows,
  days: ArrayLike<number>,
  part: Uint32Array,
  { threshold, k }: { readonly threshold: number; readonly k: number | null },
): Quality {
  const { labels, scores, weights } = rows
  const options = { weights, rows: part }
  let positives = 0
  for (const row of part) positives += labels[row]!
  const measures = measure(labels, scores, options)
  const { precision, recall, f1, flagged } = atThreshold(labels, scores, threshold, options)
  const entities = { labels, scores, keys: rows.keys, days }
  const has = (isThere: boolean, value: number) => (isThere && Number.isFinite(value) ? value : null)
  return {
    rows: part.length,
    positives,
    averagePrecision: has(positives > 0, measures.averagePrecision),
    auc: has(true, measures.auc),
    logLoss: has(true, measures.logLoss),
    brier: has(true, measures.brier),
    calibrationError: has(true, measures.calibrationError),
    precision: has(flagged > 0, precision),
    recall: has(positives > 0, recall),
    f1: has(flagged > 0 || positives > 0, f1),
    precisionAtK: k === null ? null : has(true, precisionAtK(entities, k, options).mean),
  }
}

type MakeGroup = (by: GroupKind, name: string, part: Uint32Array, hasWholeDays: boolean) => QualityGroup

function sliceGroups(
  rows: ServedRows,
  { name, values, bounds }: Slice,
  order: Uint32Array,
  group: MakeGroup,
): QualityGroup[] {
  assert(
    values.length === rows.labels.length,
    `slice ${name} has ${values.length} values for ${rows.labels.length} rows`,
  )
  requireAscending(`slice ${name}`, bounds)
  return dealt(order, (row) => bucketOf(values[row]!, bounds))
    .sort(([a], [b]) => a - b)
    .map(([bucket, part]) => group('slice', `${name} ${bucketName(bucket, bounds, String)}`, part, false))
}

/** A positive without a delay (a label that names its event by a value) is in none of them. */
function delayGroups(
  rows: ServedRows,
  bounds: readonly number[],
  order: Uint32Array,
  group: MakeGroup,
): QualityGroup[] {
  requireAscending('label delays', bounds)
  const isIn = (row: number, bucket: number) =>
    rows.labels[row] === 0 || bucketOf(rows.labelDelays[row]!, bounds) === bucket
  return Array.from({ length: bounds.length + 1 }, (_, bucket) => {
    const name = bucketName(bucket, bounds, (ms) => `${formatDays(ms)} d`)
    return group(
      'delay',
      name,
      order.filter((row) => isIn(row, bucket)),
      false,
    )
  })
}

/** Parts of the rows by a whole number, each still in the rows' order. */
function dealt(order: Uint32Array, of: (row: number) => number): Array<[number, Uint32Array]> {
  const counts = new Map<number, number>()
  for (const row of order) counts.set(of(row), (counts.get(of(row)) ?? 0) + 1)
  const parts = new Map([...counts].map(([number, count]) => [number, { rows: new Uint32Array(count), at: 0 }]))
  for (const row of order) {
    const part = parts.get(of(row))!
    part.rows[part.at++] = row
  }
  return [...parts].map(([number, { rows }]) => [number, rows])
}

/** The bucket after the last bound's is the one of missing values. */
function bucketOf(value: number, bounds: readonly number[]): number {
  if (Number.isNaN(value)) return bounds.length + 1
  const bucket = bounds.findIndex((bound) => value < bound)
  return bucket === -1 ? bounds.length : bucket
}

function bucketName(bucket: number, bounds: readonly number[], shown: (bound: number) => string): string {
  if (bucket > bounds.length) return 'missing'
  if (bucket === 0) return bounds.length === 0 ? 'any' : `< ${shown(bounds[0]!)}`
  if (bucket === bounds.length) return `>= ${shown(bounds[bucket - 1]!)}`
  return `${shown(bounds[bucket - 1]!)}..${shown(bounds[bucket]!)}`
}

function requireAscending(what: string, bounds: readonly number[]): void {
  assert(bounds.length < bucketsMax, `${what}: ${bounds.length} bounds, expected fewer than ${bucketsMax}`)
  for (let i = 1; i < bounds.length; i++) {
    if (!(bounds[i]! > bounds[i - 1]!)) assert.fail(`${what}: bound ${bounds[i]} does not follow ${bounds[i - 1]}`)
  }
}

function requireColumns(rows: ServedRows): void {
  const { labels, scores, times, versions, keys, labelDelays, weights } = rows
  const columns = { scores, times, versions, keys, labelDelays, ...(weights ? { weights } : {}) }
  for (const [name, column] of Object.entries(columns)) {
    assert(column.length === labels.length, `${column.length} ${name} for ${labels.length} labels`)
  }
}

function span(times: Float64Array, part: Uint32Array): Pick<QualityGroup, 'fromMs' | 'untilMs'> {
  if (part.length === 0) return { fromMs: null, untilMs: null }
  let [fromMs, untilMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const row of part) {
    fromMs = Math.min(fromMs, times[row]!)
    untilMs = Math.max(untilMs, times[row]!)
  }
  return { fromMs, untilMs }
}

function dayName(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10)
}

function formatDays(ms: number): string {
  return String(Math.round((ms / dayMs) * 100) / 100)
}
