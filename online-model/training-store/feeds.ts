/** What consumers are handed by number: ripe rows, and labels as they arrive. Called by the training store. */
import type { Session } from './database.ts'
import type { Layout } from './layout.ts'
import { type RipeRows, readRows } from './read-rows.ts'

export async function readRipened(session: Session, layout: Layout, after: number, rowsMax: number): Promise<RipeRows> {
  const values = await numbers(session, 'ripened', after, rowsMax)
  return readRows(session, layout, { where: 'r.seq >= $from AND r.seq < $to', values, label: 'due' }, true)
}

export async function readArrived(session: Session, layout: Layout, after: number, rowsMax: number): Promise<RipeRows> {
  const values = await numbers(session, 'arrived', after, rowsMax)
  const columns = layout.waitingColumns.join(', ')
  const from = `(SELECT a.seq, a.outcome, a.label_time_ms, e.*
    FROM (FROM arrived WHERE seq >= $from AND seq < $to) a
    JOIN (SELECT ${columns} FROM waiting UNION ALL SELECT ${columns} FROM ripened) e ON e.id = a.id AND e.time_ms = a.time_ms)`
  return readRows(session, layout, { from, where: 'true', values, label: 'due' }, true)
}

/** What was trimmed leaves holes: the first number that there is, and `rowsMax` from there. */
async function numbers(session: Session, table: string, after: number, rowsMax: number) {
  const [first] = await session.all(`SELECT min(seq)::DOUBLE FROM ${table} WHERE seq > $after`, {
    after: BigInt(after),
  })
  const from = Number(first![0] ?? after + 1)
  return { from: BigInt(from), to: BigInt(from + rowsMax) }
}
