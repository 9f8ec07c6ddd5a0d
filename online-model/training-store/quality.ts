/** An evaluation's report in the training store: the table `quality`, one row a group, for queries in SQL. Called by the store. */
import { type EvaluationReport, type EvaluationRole, qualityMeasures } from '../evaluation/report.ts'
import type { Session } from './database.ts'

/** `until_ms` and `from_ms`: event times of the group's rows. A measure that the rows do not allow is null. */
const columns = [
  ['role', 'VARCHAR'],
  ['grouped_by', 'VARCHAR'],
  ['name', 'VARCHAR'],
  ['from_ms', 'BIGINT'],
  ['until_ms', 'BIGINT'],
  ['rows', 'BIGINT'],
  ['positives', 'BIGINT'],
  ...qualityMeasures.map((measure) => [snakeCase(measure), 'DOUBLE'] as const),
] as const

export const createQuality = `CREATE TABLE quality (${columns.map((pair) => pair.join(' ')).join(', ')})`

/** Replaces the last report of that role; days that it does not contain stay as long as the store does. */
export async function saveQuality(session: Session, role: EvaluationRole, report: EvaluationReport): Promise<void> {
  const days = report.groups.filter(({ by }) => by === 'day').map(({ name }) => name)
  await session.run(
    `DELETE FROM quality WHERE role = $role AND (grouped_by <> 'day' OR list_contains(string_split($days, ','), name))`,
    { role, days: days.join(',') },
  )
  const placeholders = columns.map(([name]) => `$${name}`).join(', ')
  for (const { by, name, fromMs, untilMs, quality } of report.groups) {
    await session.run(`INSERT INTO quality VALUES (${placeholders})`, {
      role,
      grouped_by: by,
      name,
      from_ms: fromMs === null ? null : BigInt(fromMs),
      until_ms: untilMs === null ? null : BigInt(untilMs),
      rows: quality.rows,
      positives: quality.positives,
      ...Object.fromEntries(qualityMeasures.map((measure) => [snakeCase(measure), quality[measure]])),
    })
  }
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z0-9]+/g, (part) => `_${part.toLowerCase()}`)
}
