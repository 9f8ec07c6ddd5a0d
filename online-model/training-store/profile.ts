/** Profile of a training set: counts, label rate by day, the distribution of every feature. Called by `millrace data`. */
import type { DuckDBValue } from '@duckdb/node-api'
import type { StoreStatus, TrainingStore } from './store.ts'

export interface DayProfile {
  /** Such as 2018-04-01. */
  readonly day: string
  readonly rows: number
  readonly positives: number
  /** Of the events that rows represent: the share of events with label 1. */
  readonly rate: number
}

export interface Distribution {
  /** Rows with a value. */
  readonly rows: number
  readonly missing: number
  /** All null where no row has a value. `quantiles`: as `quantileShares`. */
  readonly mean: number | null
  readonly min: number | null
  readonly max: number | null
  readonly quantiles: readonly number[] | null
}

export interface FeatureProfile {
  readonly name: string
  readonly all: Distribution
  readonly positives: Distribution
  readonly negatives: Distribution
  /** Rows in equal steps from `from` to `to`; what is beyond is in the first and last. Null where no row has a value. */
  readonly histogram: {
    readonly from: number
    readonly to: number
    readonly positives: readonly number[]
    readonly negatives: readonly number[]
  } | null
}

export interface DataProfile {
  readonly rows: number
  readonly positives: number
  /** Of the events that rows represent. */
  readonly rate: number
  /** Event times of the rows, ms; null where there are none. */
  readonly fromMs: number | null
  readonly untilMs: number | null
  /** Of the mature rows: whose label came within its time, later, changed what had been due, or was withdrawn. */
  readonly labels: {
    readonly named: number
    readonly late: number
    readonly corrected: number
    readonly withdrawn: number
  }
  /** Labels without a row: of events that wait, were not scored or were removed. */
  readonly labelsWithoutRow: number
  readonly waiting: number
  readonly status: StoreStatus
  readonly days: readonly DayProfile[]
  readonly features: readonly FeatureProfile[]
}

export const quantileShares = [0.01, 0.25, 0.5, 0.75, 0.99] as const
const bins = 24

/** Walks over the rows once a feature. */
export async function profileStore(
  store: Pick<TrainingStore, 'query' | 'status' | 'features' | 'columns'>,
): Promise<DataProfile> {
  const [total] = await store.query(
    `SELECT count(*)::DOUBLE, coalesce(sum(label), 0)::DOUBLE, coalesce(sum(label * weight) / sum(weight), 0)::DOUBLE,
      epoch_ms(min(event_time))::DOUBLE, epoch_ms(max(event_time))::DOUBLE FROM training_rows`,
  )
  const [rows, positives, rate, fromMs, untilMs] = total!
  const days = await store.query(
    `SELECT strftime(event_time, '%Y-%m-%d') AS day, count(*)::DOUBLE, sum(label)::DOUBLE,
      (sum(label * weight) / sum(weight))::DOUBLE FROM training_rows GROUP BY day ORDER BY day`,
  )
  const features: FeatureProfile[] = []
  for (const [i, name] of store.features.entries()) features.push(await profileFeature(store, name, store.columns[i]!))
  const status = store.status()
  const labels = await profileLabels(store)
  return {
    rows: Number(rows),
    positives: Number(positives),
    rate: Number(rate),
    fromMs: numberOrNull(fromMs),
    untilMs: numberOrNull(untilMs),
    labels,
    labelsWithoutRow: status.rows.labels - labels.late,
    waiting: status.rows.waiting,
    status,
    days: days.map(([day, rows, positives, rate]) => {
      return { day: String(day), rows: Number(rows), positives: Number(positives), rate: Number(rate) }
    }),
    features,
  }
}

async function profileLabels(store: Pick<TrainingStore, 'query'>): Promise<DataProfile['labels']> {
  const [counts] = await store.query(
    `SELECT count(label_time_ms)::DOUBLE, (count(label_time_ms) - count(outcome))::DOUBLE FROM matured`,
  )
  const [late] = await store.query('SELECT count(*)::DOUBLE FROM labels SEMI JOIN matured USING (id)')
  const [corrected] = await store.query(
    `SELECT count(*)::DOUBLE FROM training_rows t JOIN matured r ON r.id = t.event_id AND epoch_ms(r.time_ms) = t.event_time
      WHERE t.label_time IS NOT NULL AND r.outcome IS NOT NULL AND t.label <> r.outcome`,
  )
  return {
    named: Number(counts![0]),
    withdrawn: Number(counts![1]),
    late: Number(late![0]),
    corrected: Number(corrected![0]),
  }
}

async function profileFeature(
  store: Pick<TrainingStore, 'query'>,
  name: string,
  column: string,
): Promise<FeatureProfile> {
  const parts = ['', ' FILTER (WHERE label = 1)', ' FILTER (WHERE label = 0)']
  const shares = `[${quantileShares.join(', ')}]`
  const columns = parts.flatMap((filter) => {
    const weighed = `CASE WHEN ${column} IS NULL THEN NULL ELSE weight END`
    return [
      `(count(${column})${filter})::DOUBLE`,
      `((count(*)${filter}) - (count(${column})${filter}))::DOUBLE`,
      `((sum(${column} * weight)${filter}) / (sum(${weighed})${filter}))::DOUBLE`,
      `(min(${column})${filter})`,
      `(max(${column})${filter})`,
      ...quantileShares.map((_, i) => `((quantile_cont(${column}, ${shares})${filter}))[${i + 1}]`),
    ]
  })
  const [row] = await store.query(`SELECT ${columns.join(', ')} FROM training_rows`)
  const width = columns.length / parts.length
  const [all, positives, negatives] = parts.map((_, part) => distribution(row!.slice(part * width, (part + 1) * width)))
  return {
    name,
    all: all!,
    positives: positives!,
    negatives: negatives!,
    histogram: await histogram(store, column, all!),
  }
}

function distribution([rows, missing, mean, min, max, ...quantiles]: readonly DuckDBValue[]): Distribution {
  return {
    rows: Number(rows),
    missing: Number(missing),
    mean: numberOrNull(mean),
    min: numberOrNull(min),
    max: numberOrNull(max),
    quantiles: quantiles.includes(null) ? null : quantiles.map(Number),
  }
}

/** From the first to the last hundredth, so that a few far values do not leave one bar of all others. */
async function histogram(
  store: Pick<TrainingStore, 'query'>,
  column: string,
  { quantiles, min, max }: Distribution,
): Promise<FeatureProfile['histogram']> {
  if (quantiles === null || min === null || max === null) return null
  const [low, high] = [quantiles[0]!, quantiles.at(-1)!]
  const [from, to] = low < high ? [low, high] : [min, max]
  const step = to > from ? (to - from) / bins : 1
  const bin = `least(greatest(floor((${column} - ($from)) / ($step)), 0), ${bins - 1})::INTEGER`
  const found = await store.query(
    `SELECT ${bin} AS bin, label, count(*)::DOUBLE FROM training_rows WHERE ${column} IS NOT NULL GROUP BY ALL`,
    { from, step },
  )
  const count = (label: number) => {
    const counts = new Array<number>(bins).fill(0)
    for (const [bin, of, rows] of found) if (Number(of) === label) counts[Number(bin)] = Number(rows)
    return counts
  }
  return { from, to, positives: count(1), negatives: count(0) }
}

const numberOrNull = (value: DuckDBValue | undefined) => (value === null || value === undefined ? null : Number(value))
