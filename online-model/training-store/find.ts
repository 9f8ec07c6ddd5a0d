/** One prediction by the id of its event, with its label once that is known; called for look-ups over HTTP. */
import type { DuckDBValue } from '@duckdb/node-api'
import type { ShadowScore } from '../../schemas/wire/records.ts'
import type { Session } from './database.ts'
import { type Layout, labelOf, latestLabels } from './layout.ts'
import { shadowFromText } from './read-rows.ts'

export interface FoundPrediction {
  readonly id: string
  /** Event time, ms. */
  readonly time: number
  readonly key: string | null
  readonly score: number | null
  readonly modelVersion: string | null
  readonly shadow: readonly ShadowScore[]
  /** In the plan's feature order, NaN where missing. */
  readonly features: readonly number[]
  /** Location of the prediction in its topic. */
  readonly partition: number
  readonly offset: number
  /** Null while none is known and the time to wait for one has not passed. `time` is null where none came in that time. */
  readonly label: { readonly outcome: 0 | 1; readonly time: number | null } | null
}

export async function findPrediction(session: Session, layout: Layout, id: string): Promise<FoundPrediction | null> {
  const mature = labelOf('latest', layout.otherwise)
  const shared = [
    ...[
      'id',
      'time_ms::DOUBLE',
      'entity_key',
      'score',
      'model_version',
      'shadow',
      'log_partition',
      'log_offset::DOUBLE',
    ],
    ...layout.featureColumns,
  ]
  const columns = shared.map((name) => `r.${name}`).join(', ')
  const labels = `LEFT JOIN ${latestLabels} l ON l.id = r.id WHERE r.id = $id`
  const rows = await session.all(
    `SELECT ${columns}, ${mature.label} AS label, ${mature.time}::DOUBLE AS label_time, r.time_ms FROM matured r ${labels}
      UNION ALL
      SELECT ${columns}, l.outcome, CASE WHEN l.outcome IS NULL THEN NULL ELSE l.time_ms END::DOUBLE, r.time_ms FROM waiting r ${labels}
      ORDER BY r.time_ms DESC LIMIT 1`,
    { id },
  )
  const [row] = rows
  return row === undefined ? null : found(row, layout.features.length)
}

function found(row: readonly DuckDBValue[], width: number): FoundPrediction {
  const [id, time, key, score, modelVersion, shadow, partition, offset, ...rest] = row
  const [label, labelTime] = rest.slice(width)
  return {
    id: String(id),
    time: Number(time),
    key: key as string | null,
    score: score as number | null,
    modelVersion: modelVersion as string | null,
    shadow: shadowFromText(shadow as string | null),
    features: rest.slice(0, width).map((value) => (value === null ? Number.NaN : Number(value))),
    partition: Number(partition),
    offset: Number(offset),
    label:
      label === null ? null : { outcome: label === 1 ? 1 : 0, time: labelTime === null ? null : Number(labelTime) },
  }
}
