/** Mature rows to a Parquet file and back, exactly; called by the `data` command. */
import type { DuckDBValue } from '@duckdb/node-api'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Session } from './database.ts'
import { isKnown, type Layout, labelOf, labelPositionOf, latestLabels } from './layout.ts'
import type { About } from './open.ts'
import { addCounts, type Progress } from './progress.ts'
import type { TimeSpan } from './read-rows.ts'
import { quoted, writeBeside } from './snapshot.ts'

/** Metadata of the file: without it, columns of the same names might mean anything. */
const aboutKey = 'millrace'

/** Columns of the file beside the features, and what of `r`, joined with `l`, each holds. */
function exported({ otherwise }: Layout): ReadonlyArray<readonly [string, string]> {
  const { label, time } = labelOf('latest', otherwise)
  return [
    ['event_id', 'r.id'],
    ['event_time', 'epoch_ms(r.time_ms)'],
    ['entity_key', 'r.entity_key'],
    ['score', 'r.score'],
    ['model_version', 'r.model_version'],
    ['shadow', 'r.shadow'],
    ['label', label],
    ['label_time', `epoch_ms(${time})`],
    ['label_partition', labelPositionOf('partition')],
    ['label_offset', labelPositionOf('offset')],
    ['weight', 'r.weight'],
    ['log_partition', 'r.log_partition'],
    ['log_offset', 'r.log_offset'],
  ]
}

/** By (event time, id); answers how many rows. */
export async function exportParquet(
  session: Session,
  layout: Layout,
  about: About,
  file: string,
  { fromMs, untilMs }: TimeSpan,
): Promise<number> {
  const columns = [
    ...exported(layout).map(([name, value]) => `${value} AS ${name}`),
    ...layout.featureColumns.map((name) => `r.${name}`),
  ]
  const known = isKnown(labelOf('latest', layout.otherwise).label, layout.otherwise)
  const select = `SELECT ${columns.join(', ')} FROM matured r LEFT JOIN ${latestLabels} l ON l.id = r.id
    WHERE r.time_ms >= ${fromMs} AND r.time_ms < ${untilMs} AND ${known} ORDER BY r.time_ms, r.id`
  const options = `FORMAT parquet, COMPRESSION zstd, KV_METADATA { ${aboutKey}: ${quoted(JSON.stringify(about))} }`
  let rows = 0
  await writeBeside(file, async (part) => {
    rows = await session.run(`COPY (${select}) TO ${quoted(part)} (${options})`)
  })
  return rows
}

/** Adds rows that are not there yet, as ones that have matured before all others. */
export async function importParquet(
  session: Session,
  layout: Layout,
  about: About,
  file: string,
  before: Progress,
): Promise<Progress> {
  await requireSameDefinition(session, about, file)
  const features = layout.featureColumns.map((name) => `f.${name}`).join(', ')
  const isNew = (table: string) =>
    `NOT EXISTS (FROM ${table} t WHERE t.id = f.event_id AND t.time_ms = epoch_ms(f.event_time))`
  const rows = await session.run(
    `INSERT INTO matured
      SELECT 0, CASE WHEN f.label_time IS NULL THEN NULL ELSE f.label END, epoch_ms(f.label_time), f.label_partition,
        f.label_offset, NULL, f.event_id, epoch_ms(f.event_time), f.entity_key, f.score, f.model_version, f.shadow,
        f.log_partition, f.log_offset, f.weight, ${features}
      FROM read_parquet(${quoted(file)}) f WHERE ${isNew('waiting')} AND ${isNew('matured')}`,
  )
  return {
    ...before,
    rows: { ...before.rows, matured: before.rows.matured + rows },
    counts: addCounts(before.counts, { imported: rows }),
  }
}

async function requireSameDefinition(session: Session, about: About, file: string): Promise<void> {
  let found: DuckDBValue[][]
  try {
    const sql = `SELECT decode(value) FROM parquet_kv_metadata(${quoted(file)}) WHERE decode(key) = ${quoted(aboutKey)}`
    found = await session.all(sql)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new PipelineError('input_unreadable', `${file} is no Parquet file that can be read: ${reason}`, { cause })
  }
  const text = found[0]?.[0]
  const other = typeof text === 'string' ? (JSON.parse(text) as About) : null
  const expected = `rows of definition ${about.fingerprint} exported by millrace data`
  if (other === null || other.fingerprint !== about.fingerprint) {
    const received =
      other === null ? 'a file that does not say what it holds' : `rows of definition ${other.fingerprint}`
    throw new PipelineError('input_unreadable', `${file}: expected ${expected}, received ${received}.`, {
      details: { file, expected: about, received: other },
    })
  }
}
