/**
 * The tables of a training store, derived from the plan: one DuckDB column a feature. Everything that spells a table or a column of it
 * is here. Called when a store is made and by every statement on it.
 */
import type { Plan } from '../../schemas/plan/plan.ts'
import { createQuality } from './quality.ts'

/** Raised with every change of the tables: an older file is built again. */
export const layoutVersion = 5

/**
 * Columns of a prediction, in order; the features follow. `shadow`: JSON of [version, score] pairs, null where no version scored in
 * shadow.
 */
const predictionColumns = [
  ['id', 'VARCHAR'],
  ['time_ms', 'BIGINT'],
  ['entity_key', 'VARCHAR'],
  ['score', 'DOUBLE'],
  ['model_version', 'VARCHAR'],
  ['shadow', 'VARCHAR'],
  ['log_partition', 'INTEGER'],
  ['log_offset', 'BIGINT'],
  ['weight', 'DOUBLE'],
] as const

/**
 * Columns that are added when a row matures: its number in maturity order, the latest label that was due (its outcome is null where it was
 * withdrawn; all of them where none came), and the watermark by which the event was mature.
 */
const maturedColumns = [
  ['seq', 'BIGINT'],
  ['outcome', 'UTINYINT'],
  ['label_time_ms', 'BIGINT'],
  ['label_partition', 'INTEGER'],
  ['label_offset', 'BIGINT'],
  ['matured_at_ms', 'BIGINT'],
] as const

export interface Layout {
  readonly features: readonly string[]
  /** Column of each feature, quoted. */
  readonly featureColumns: readonly string[]
  /** Label of an event that no label names; null: unknown. */
  readonly otherwise: 0 | 1 | null
  /** Of `waiting`, in order. */
  readonly waitingColumns: readonly string[]
  /** Those with a vector in each row, behind the other columns. */
  readonly tables: ReadonlyArray<{
    readonly name: string
    readonly columns: readonly string[]
    readonly create: string
  }>
  /** Statement that makes the view for people. */
  readonly view: string
  /** Statements that make everything. */
  readonly create: readonly string[]
}

export function layoutOf(plan: Pick<Plan, 'features' | 'label'>): Layout {
  const otherwise = plan.label.otherwise.value
  const features = plan.features.map(({ name }) => name)
  const featureColumns = columnsOf(features).map((name) => `"${name}"`)
  const vector = featureColumns.map((name) => [name, 'DOUBLE'] as const)
  const waiting = [...predictionColumns, ...vector]
  const table = (name: string, others: ReadonlyArray<readonly [string, string]>) => {
    const columns = [...others, ...vector].map((pair) => pair.join(' ')).join(', ')
    return { name, columns: others.map(([column]) => column), create: `CREATE TABLE ${name} (${columns})` }
  }
  const tables = [table('waiting', predictionColumns), table('matured', [...maturedColumns, ...predictionColumns])]
  const view = viewForPeople(featureColumns, otherwise)
  return {
    features,
    featureColumns,
    otherwise,
    waitingColumns: waiting.map(([name]) => name),
    tables,
    view,
    create: [
      'CREATE TABLE about (json VARCHAR)',
      'CREATE TABLE progress (json VARCHAR)',
      'CREATE TABLE states (name VARCHAR, up_to BIGINT, bytes BLOB)',
      'CREATE TABLE labels (id VARCHAR, outcome UTINYINT, time_ms BIGINT, log_partition INTEGER, log_offset BIGINT)',
      ...tables.map(({ create }) => create),
      createQuality,
      view,
    ],
  }
}

/** A temporary table is the connection's own: it is made with every opening. */
export const createStaged = 'CREATE TEMP TABLE staged AS FROM waiting LIMIT 0'

/** What a batch lets mature: when in event time, and by which label; all of it null where none came. */
export const createDue = `CREATE TEMP TABLE due (id VARCHAR, time_ms BIGINT, at_ms BIGINT, outcome UTINYINT,
  label_time_ms BIGINT, label_partition INTEGER, label_offset BIGINT)`

/**
 * The latest label of each id that came after its event had matured or without it. What was due when an event matured is in `matured`
 * and is no longer in `labels`.
 */
export const latestLabels = `(SELECT * FROM labels QUALIFY row_number() OVER
  (PARTITION BY id ORDER BY time_ms DESC, log_partition DESC, log_offset DESC) = 1)`

/** Whether the label of `l` holds against the one that `r` matured with. */
const isLaterLabel = `l.id IS NOT NULL AND (r.label_time_ms IS NULL OR
  (l.time_ms, l.log_partition, l.log_offset) > (r.label_time_ms, r.label_partition, r.label_offset))`

/** The label of `r` joined with `l`, and the time of its label event; null where none does or it was withdrawn. */
export function labelOf(
  choice: 'due' | 'latest',
  otherwise: Layout['otherwise'],
): { readonly label: string; readonly time: string } {
  const held = choice === 'due' ? 'r.outcome' : `CASE WHEN ${isLaterLabel} THEN l.outcome ELSE r.outcome END`
  const time = choice === 'due' ? whereNamed('r', 'label_time_ms') : latestPart('label_time_ms', 'time_ms')
  return { label: `coalesce(${held}, ${otherwise ?? 'NULL'}::UTINYINT)`, time: `(${time})` }
}

/** Whether a row has a label: one whose label was withdrawn has none where nothing holds otherwise. */
export function isKnown(label: string, otherwise: Layout['otherwise']): string {
  return otherwise === null ? `${label} IS NOT NULL` : 'true'
}

/** Location of the label event that is in effect. */
export function labelPositionOf(part: 'partition' | 'offset'): string {
  return latestPart(`label_${part}`, `log_${part}`)
}

const whereNamed = (table: 'r' | 'l', column: string) =>
  `CASE WHEN ${table}.outcome IS NULL THEN NULL ELSE ${table}.${column} END`

const latestPart = (due: string, later: string) =>
  `CASE WHEN ${isLaterLabel} THEN ${whereNamed('l', later)} ELSE ${whereNamed('r', due)} END`

/** The training set as people query it: instants as such, and the label as it is known by now. */
function viewForPeople(featureColumns: readonly string[], otherwise: Layout['otherwise']): string {
  const { label, time } = labelOf('latest', otherwise)
  return `CREATE VIEW training_rows AS
    SELECT r.id AS event_id, epoch_ms(r.time_ms) AS event_time, r.entity_key, r.score, r.model_version,
      ${label} AS label, epoch_ms(${time}) AS label_time, r.weight,
      ${featureColumns.map((name) => `r.${name}`).join(', ')}
    FROM matured r LEFT JOIN ${latestLabels} l ON l.id = r.id WHERE ${isKnown(label, otherwise)}`
}

/** Names that a feature's column must not have in any of the tables, the view and the exported file. */
const taken = [
  ...[...predictionColumns, ...maturedColumns].map(([name]) => name),
  ...['label', 'event_id', 'event_time', 'label_time'],
]

/** A feature's column has its name, but columns are distinguished without regard to case and some are the store's own. */
export function columnsOf(features: readonly string[]): string[] {
  const used = new Set<string>(taken)
  return features.map((feature) => {
    let name = used.has(feature.toLowerCase()) ? `feature_${feature}` : feature
    for (let number = 2; used.has(name.toLowerCase()); number++) name = `feature_${feature}_${number}`
    used.add(name.toLowerCase())
    return name
  })
}
