/**
 * One batch of both inputs into the tables: rows, what matures by them and the positions, inside the transaction that the caller has
 * begun. Called by the training store.
 */
import type { Prediction } from '../../schemas/wire/records.ts'
import type { Label } from '../labels/read-label.ts'
import { type Column, fillChunks } from './columns.ts'
import type { Session } from './database.ts'
import type { Layout } from './layout.ts'
import { addCounts, type Progress, type StoreCounts } from './progress.ts'
import { shadowToText } from './read-rows.ts'
import { advance, furthestOf, type InputName, type PartitionRead, partitionKey, watermarkOf } from './watermark.ts'

interface LogPosition {
  readonly partition: number
  readonly offset: number
}

export interface PredictionRow extends LogPosition {
  /** The record's key: that of the scored stream. */
  readonly key: string | null
  readonly prediction: Pick<Prediction, 'id' | 'time' | 'score' | 'modelVersion' | 'features' | 'shadow'>
}

export interface LabelRow extends LogPosition {
  readonly label: Label
}

export interface Batch {
  /** Vectors of the plan's own definition, in offset order within a partition. */
  readonly predictions: readonly PredictionRow[]
  readonly labels: readonly LabelRow[]
  readonly read: readonly PartitionRead[]
  /** What was read and is in neither list. */
  readonly counts?: Partial<
    Pick<StoreCounts, 'foreign' | 'earlier' | 'rejectedLabels' | 'rejectedValues' | 'labelsAhead' | 'passedOver'>
  >
}

export interface MaturityPlan {
  /** An event that nothing was reported of is mature once this much event time has passed, unless `isUnknownOtherwise`. */
  readonly afterMs: number
  /** One with a report is mature after this much: as long, or 0 where reports are learnt from as they arrive. */
  readonly waitMs: number
  /** An event without a report is unknown: it never matures. */
  readonly isUnknownOtherwise: boolean
  /** Labels may still come this much out of order. */
  readonly labelDisorderMs: number
}

/** Event time that both inputs have passed; −∞ while one of them is empty. */
export function storeWatermark(
  { partitions }: Pick<Progress, 'partitions'>,
  { labelDisorderMs }: Pick<MaturityPlan, 'labelDisorderMs'>,
): number {
  return Math.min(watermarkOf(partitions, 'predictions'), watermarkOf(partitions, 'label') - labelDisorderMs)
}

/** Answers what the store knows about itself afterwards; the caller saves it in the same transaction. */
export async function applyBatch(
  session: Session,
  layout: Layout,
  maturity: MaturityPlan,
  before: Progress,
  batch: Batch,
): Promise<Progress> {
  // What was applied before changes nothing: positions decide.
  const nextOf = new Map(before.partitions.map((position) => [partitionKey(position), position.next]))
  const isNew = (input: InputName) => (row: LogPosition) =>
    row.offset >= (nextOf.get(partitionKey({ input, partition: row.partition })) ?? 0)
  const predictions = batch.predictions.filter(isNew('predictions'))
  const labels = batch.labels.filter(isNew('label'))

  if (labels.length > 0) await session.append('labels', (add) => fillChunks(labels, labelColumns, null, add))
  const kept = predictions.length > 0 ? await keepPredictions(session, layout, before, predictions) : 0

  const partitions = advance(before.partitions, batch.read)
  const untilMs = Math.max(before.maturedUntilMs, storeWatermark({ partitions }, maturity) - maturity.waitMs)
  const cameLate = predictions.some(({ prediction }) => prediction.time <= before.maturedUntilMs)
  // A report of an event that could have matured before, had it come then.
  const isReported = labels.length > 0 && !isByTimeAlone(maturity)
  const isDue = untilMs > before.maturedUntilMs || cameLate || isReported
  const matured = isDue ? await matureDue(session, layout, maturity, { ...before, partitions }, untilMs) : noneMatured

  const counts = addCounts(before.counts, {
    ...(isAhead(before, batch) ? batch.counts : {}),
    predictions: kept,
    duplicatePredictions: predictions.length - kept,
    labels: labels.length,
    matured: matured.count,
    maturedLate: matured.late,
  })
  const rows = {
    waiting: before.rows.waiting + kept - matured.count,
    matured: before.rows.matured + matured.count,
    labels: before.rows.labels + labels.length - matured.labels,
  }
  return {
    ...before,
    partitions,
    maturedUntilMs: untilMs,
    nextSeq: before.nextSeq + matured.count,
    rows,
    counts,
  }
}

/** Every event matures at the same age. */
function isByTimeAlone({ afterMs, waitMs, isUnknownOtherwise }: MaturityPlan): boolean {
  return waitMs === afterMs && !isUnknownOtherwise
}

/** Whether the batch reads on anywhere, so that its counts are not those of a batch that was applied before. */
function isAhead(before: Progress, batch: Batch): boolean {
  const nextOf = new Map(before.partitions.map((position) => [partitionKey(position), position.next]))
  return batch.read.some((read) => read.next > (nextOf.get(partitionKey(read)) ?? -1))
}

const labelColumns: ReadonlyArray<Column<LabelRow>> = [
  { type: 'text', of: ({ label }) => label.id },
  { type: 'tiny', of: ({ label }) => label.outcome },
  { type: 'bigint', of: ({ label }) => label.time },
  { type: 'integer', of: ({ partition }) => partition },
  { type: 'bigint', of: ({ offset }) => offset },
]

/** As in `layout.ts`. */
const predictionColumns: ReadonlyArray<Column<PredictionRow>> = [
  { type: 'text', of: ({ prediction }) => prediction.id },
  { type: 'bigint', of: ({ prediction }) => prediction.time },
  { type: 'text', of: ({ key }) => key },
  { type: 'double', of: ({ prediction }) => prediction.score },
  { type: 'text', of: ({ prediction }) => prediction.modelVersion },
  { type: 'text', of: ({ prediction }) => shadowToText(prediction.shadow) },
  { type: 'integer', of: ({ partition }) => partition },
  { type: 'bigint', of: ({ offset }) => offset },
  { type: 'double', of: () => 1 },
]

/** Answers how many were new. One that comes again has the same time: only rows of these times are searched. */
async function keepPredictions(
  session: Session,
  layout: Layout,
  before: Progress,
  predictions: readonly PredictionRow[],
): Promise<number> {
  const first = new Map<string, PredictionRow>()
  let [fromMs, toMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const row of predictions) {
    const { id, time } = row.prediction
    fromMs = Math.min(fromMs, time)
    toMs = Math.max(toMs, time)
    const key = `${time} ${id}`
    if (!first.has(key)) first.set(key, row)
  }
  const vector = {
    width: layout.features.length,
    of: ({ prediction }: PredictionRow) => prediction.features,
  }
  await session.run('DELETE FROM staged')
  await session.append('staged', (add) => fillChunks([...first.values()], predictionColumns, vector, add))
  const values = layout.waitingColumns.map((name) =>
    layout.featureColumns.includes(name) ? `nullif(s.${name}, 'NaN'::DOUBLE)` : `s.${name}`,
  )
  const isNew = (table: string) =>
    `NOT EXISTS (FROM ${table} t WHERE t.id = s.id AND t.time_ms = s.time_ms AND t.time_ms BETWEEN ${fromMs} AND ${toMs})`
  // Of these times there is nothing yet, unless it was imported.
  const hasImported = before.counts.imported > 0
  const tables = [
    ...(hasImported || fromMs <= furthestOf(before.partitions, 'predictions') ? ['waiting'] : []),
    ...(hasImported || fromMs <= before.maturedUntilMs ? ['matured'] : []),
  ]
  const conditions = tables.length > 0 ? `WHERE ${tables.map(isNew).join(' AND ')}` : ''
  return session.run(`INSERT INTO waiting SELECT ${values.join(', ')} FROM staged s ${conditions}`)
}

interface Matured {
  readonly count: number
  readonly late: number
  /** Labels that were folded into the rows. */
  readonly labels: number
}

const noneMatured: Matured = { count: 0, late: 0, labels: 0 }

/**
 * Moves what is due into `matured`, in the order of (instant at which it matured, event time, id). A label counts for an event only if it
 * is dated no later than that instant, so that it does not matter how far the labels were read beyond it.
 */
async function matureDue(
  session: Session,
  layout: Layout,
  maturity: MaturityPlan,
  before: Progress,
  untilMs: number,
): Promise<Matured> {
  if (untilMs === Number.NEGATIVE_INFINITY) return noneMatured
  const passedMs = Math.max(storeWatermark(before, maturity), untilMs + maturity.waitMs)
  await findDue(session, maturity, untilMs, passedMs)
  const columns = layout.waitingColumns.map((name) => `w.${name}`).join(', ')
  const count = await session.run(
    `INSERT INTO matured
      SELECT ${before.nextSeq} + row_number() OVER (ORDER BY d.at_ms, w.time_ms, w.id) - 1, d.outcome,
        d.label_time_ms, d.label_partition, d.label_offset, ${passedMs}, ${columns}
      FROM waiting w JOIN due d ON d.id = w.id AND d.time_ms = w.time_ms ORDER BY d.at_ms, w.time_ms, w.id`,
  )
  if (count === 0) return noneMatured
  const labels = await session.run('DELETE FROM labels l USING due d WHERE l.id = d.id AND l.time_ms <= d.at_ms')
  await session.run('DELETE FROM waiting w USING due d WHERE w.id = d.id AND w.time_ms = d.time_ms')
  if (!isByTimeAlone(maturity)) return { count, late: 0, labels }
  const late = await session.all('SELECT count(*)::DOUBLE FROM matured WHERE seq >= $first AND time_ms <= $before', {
    first: BigInt(before.nextSeq),
    before: BigInt(Number.isFinite(before.maturedUntilMs) ? before.maturedUntilMs : Number.MIN_SAFE_INTEGER),
  })
  return { count, late: Number(late[0]![0]), labels }
}

/** No outcome, as one that can be compared and that a struct may hold. */
const withdrawn = '2::UTINYINT'

/**
 * Into `due`: events with a report in effect, at the first instant from `waitMs` past the event on at which one is; the others once
 * `afterMs` have passed, unless they are unknown. Instants that have not passed yet are left for later batches.
 */
async function findDue(
  session: Session,
  { afterMs, waitMs, isUnknownOtherwise }: MaturityPlan,
  untilMs: number,
  passedMs: number,
): Promise<void> {
  await session.run('DELETE FROM due')
  const named = `l.id = w.id AND l.time_ms <= $passed${isUnknownOtherwise ? '' : ' AND l.time_ms <= w.time_ms + $after'}`
  // Labels of one instant are one step: the latest of them holds, and what came before the wait is over holds at its end.
  const steps = `SELECT w.id, w.time_ms, greatest(l.time_ms, w.time_ms + $wait) AS at_ms,
      max({ time_ms: l.time_ms, log_partition: l.log_partition, log_offset: l.log_offset,
        outcome: coalesce(l.outcome, ${withdrawn}) }) AS label
    FROM waiting w JOIN labels l ON ${named} WHERE w.time_ms <= $until GROUP BY ALL`
  const reported = `SELECT id, time_ms, min(at_ms) AS at_ms, arg_min(label, at_ms) AS label
    FROM steps WHERE label.outcome <> ${withdrawn} GROUP BY id, time_ms`
  const unreported = `SELECT w.id, w.time_ms, w.time_ms + $after AS at_ms, s.label
    FROM waiting w LEFT JOIN (SELECT id, time_ms, max(label) AS label FROM steps GROUP BY id, time_ms) s
      ON s.id = w.id AND s.time_ms = w.time_ms
    ANTI JOIN reported r ON r.id = w.id AND r.time_ms = w.time_ms
    WHERE w.time_ms <= $passed - $after`
  const all = isUnknownOtherwise ? 'FROM reported' : `FROM reported UNION ALL ${unreported}`
  await session.run(
    `INSERT INTO due WITH steps AS (${steps}), reported AS (${reported})
      SELECT id, time_ms, at_ms, nullif(label.outcome, ${withdrawn}), label.time_ms, label.log_partition, label.log_offset
      FROM (${all}) WHERE at_ms <= $passed`,
    {
      wait: BigInt(waitMs),
      until: BigInt(untilMs),
      passed: BigInt(passedMs),
      ...(isUnknownOtherwise ? {} : { after: BigInt(afterMs) }),
    },
  )
}
