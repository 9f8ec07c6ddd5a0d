/**
 * Keeps a training store within its bounds: what is too old is removed, and of too many negatives a share, chosen by a hash of the id,
 * stays and weighs more. Called in the transaction of a batch.
 */
import type { Session } from './database.ts'
import type { Layout } from './layout.ts'
import { addCounts, type Progress } from './progress.ts'
import { furthestOf } from './watermark.ts'

export interface StoreLimits {
  /** Rows whose event is older than this, against the newest prediction, are removed. */
  readonly retentionMs: number
  /** Most rows that wait, most that are mature and most labels without a row. */
  readonly rowsMax: number
}

/** Trimming walks over the rows: it is done each time that so much of the retention has passed ... */
const retentionShare = 1 / 64
/** ... or when there are too many, and then down to this share of the bound. */
const roomShare = 3 / 4

/** How often a row survives that a random half is removed: the same for an id forever, at least `n` in one of 2^n. */
const level = '(62 - floor(log2(greatest(md5_number_lower(t.id) >> 1, 1)))::INTEGER)'
const levelMax = 30

/** `consumedSeq`: matured rows beyond it are still to be handed out. Answers what the store knows about itself afterwards. */
export async function trim(
  session: Session,
  layout: Layout,
  { retentionMs, rowsMax }: StoreLimits,
  before: Progress,
  consumedSeq: number,
): Promise<Progress> {
  const newestMs = furthestOf(before.partitions, 'predictions')
  const isOld = newestMs >= before.trimmedAtMs + retentionMs * retentionShare
  const { waiting, matured, labels } = before.rows
  if (!isOld && Math.max(waiting, matured, labels) <= rowsMax) return before
  if (!Number.isFinite(newestMs)) return before

  const cutoff = { before: BigInt(Math.floor(newestMs - retentionMs)) }
  const consumed = `t.seq <= ${consumedSeq}`
  const remove = (table: string, where: string, values?: typeof cutoff) =>
    session.run(`DELETE FROM ${table} t WHERE ${where}`, values)
  const gone = {
    waiting: await remove('waiting', 't.time_ms < $before', cutoff),
    matured: await remove('matured', `t.time_ms < $before AND ${consumed}`, cutoff),
    labels: await remove('labels', 't.time_ms < $before', cutoff),
  }
  const room = Math.floor(rowsMax * roomShare)
  const sampled = { waiting: 0, matured: 0 }
  let dropped = 0
  // Whether an event that waits is a negative is not known yet, so that all of them are sampled alike.
  if (waiting - gone.waiting > rowsMax) sampled.waiting = await sample(session, 'waiting', 'true', room)
  if (matured - gone.matured > rowsMax) {
    const negatives = `coalesce(t.outcome, ${layout.otherwise ?? 'NULL'}) = 0 AND ${consumed}`
    sampled.matured = await sample(session, 'matured', negatives, room)
    const left = matured - gone.matured - sampled.matured
    const oldest = `t.seq <= (SELECT seq FROM matured ORDER BY seq DESC LIMIT 1 OFFSET ${room}) AND ${consumed}`
    if (left > rowsMax) dropped = await remove('matured', oldest)
  }
  if (labels - gone.labels > rowsMax) {
    const newest = `SELECT time_ms FROM labels ORDER BY time_ms DESC LIMIT 1 OFFSET ${room}`
    gone.labels += await remove('labels', `t.time_ms <= (${newest})`)
  }
  return {
    ...before,
    trimmedAtMs: isOld ? newestMs : before.trimmedAtMs,
    rows: {
      waiting: waiting - gone.waiting - sampled.waiting,
      matured: matured - gone.matured - sampled.matured - dropped,
      labels: labels - gone.labels,
    },
    counts: addCounts(before.counts, {
      expired: gone.waiting + gone.matured + dropped,
      expiredLabels: gone.labels,
      sampledOut: sampled.waiting + sampled.matured,
    }),
  }
}

/**
 * Removes rows of `where` by halves until the table has `room` rows or none of them are left to remove; what is left of them weighs for
 * those removed. Halves are nested: a row that was sampled before represents as many as the stricter sampling implies.
 */
async function sample(session: Session, table: string, where: string, room: number): Promise<number> {
  const levels = await session.all(
    `SELECT CASE WHEN ${where} THEN least(${level}, ${levelMax}) ELSE ${levelMax} END AS level, count(*)::DOUBLE
      FROM ${table} t GROUP BY ALL`,
  )
  let halvings = levelMax
  let kept = 0
  for (const [rowLevel, rows] of levels.sort((a, b) => Number(b[0]) - Number(a[0]))) {
    kept += Number(rows)
    if (kept > room) break
    halvings = Number(rowLevel)
  }
  const removed = await session.run(`DELETE FROM ${table} t WHERE ${where} AND ${level} < ${halvings}`)
  const weight = 2 ** halvings
  await session.run(`UPDATE ${table} t SET weight = ${weight} WHERE ${where} AND weight < ${weight}`)
  return removed
}
