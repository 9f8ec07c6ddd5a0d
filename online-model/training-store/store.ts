/**
 * The training store: logged predictions and late labels joined in one DuckDB file, with the Kafka positions of its contents in the
 * same transaction. The trainer writes it, batch by batch; learning and evaluation read from it what matured.
 */
import { DuckDBBlobValue, type DuckDBValue } from '@duckdb/node-api'
import type { EvaluationReport, EvaluationRole } from '../evaluation/report.ts'
import { applyBatch, type Batch, storeWatermark } from './apply.ts'
import type { Session } from './database.ts'
import { type FoundPrediction, findPrediction } from './find.ts'
import { type OpenedStore, type OpenStoreOptions, openStore } from './open.ts'
import { exportParquet, importParquet } from './parquet.ts'
import { type Progress, progressToJson, type StoreCounts } from './progress.ts'
import { saveQuality } from './quality.ts'
import { type LabelChoice, type MatureRows, readMatured, readRows, type TimeSpan } from './read-rows.ts'
import { writeSnapshot } from './snapshot.ts'
import { trim } from './trim.ts'
import type { PartitionProgress } from './watermark.ts'

export type { Batch, LabelRow, PredictionRow } from './apply.ts'
export type { OpenStoreOptions } from './open.ts'
export type { LabelChoice, MatureRows, TimeSpan } from './read-rows.ts'

export interface StoreStatus {
  readonly partitions: readonly PartitionProgress[]
  /** Event time that both inputs have passed; −∞ while one is empty. */
  readonly watermarkMs: number
  /** Events up to here are mature. */
  readonly maturedUntilMs: number
  /** `seq` of the newest mature row; 0 before the first. */
  readonly maturedSeq: number
  readonly rows: Progress['rows']
  readonly counts: StoreCounts
}

/** The last row that a consumer of mature rows has taken, and its own state as of that row. */
export interface ConsumerState {
  readonly upToSeq: number
  readonly bytes: Buffer
}

export interface TrainingStore {
  readonly features: readonly string[]
  /** Column of each feature in the table `training_rows`, quoted; for `query`. */
  readonly columns: readonly string[]
  status(): StoreStatus
  /** Fingerprint of the definition that the file was of until it was opened; null where it was of this one. */
  readonly earlierDefinition: string | null
  /**
   * Rows, what matures by them and the positions, in one transaction. What was applied before changes nothing. Rejects with
   * `training_store_failed`; then nothing has happened.
   */
  apply(batch: Batch): Promise<StoreStatus>
  /**
   * Rows after a `seq`, in maturity order, with the labels that were due then: by (event time, id), but for events that came late.
   * The same rows each time, as long as a consumer that was named at opening has not passed them.
   */
  matured(after: number, rowsMax: number): Promise<MatureRows>
  /** Mature rows of a span of event time, by (event time, id). `latest`: with all labels that are known by now. */
  rows(span: TimeSpan, label: LabelChoice): Promise<MatureRows>
  /** The prediction of an event, with its label once that is known; null where the store has none. The latest by event time. */
  find(id: string): Promise<FoundPrediction | null>
  /** Null before the first was saved. */
  state(consumer: string): Promise<ConsumerState | null>
  /** How far the consumer is and its state: both or nothing. */
  saveState(consumer: string, state: ConsumerState): Promise<void>
  /** An evaluation's report, instead of the last one of that role, in the table `quality`. */
  saveQuality(role: EvaluationRole, report: EvaluationReport): Promise<void>
  /** A copy of the whole store, for other processes; replaces the file of that name at once when it is complete. */
  snapshot(file: string): Promise<void>
  /** Mature rows into a Parquet file, by (event time, id); answers how many. */
  exportParquet(file: string, span?: TimeSpan): Promise<number>
  /** Rows of a Parquet file that was exported for the same definition; answers how many were new. They are not handed to consumers. */
  importParquet(file: string): Promise<number>
  /** Any other query, on the store as it is now. */
  query(sql: string, values?: Readonly<Record<string, DuckDBValue>>): Promise<DuckDBValue[][]>
  /** Waits for what is under way. The same promise each time. */
  close(): Promise<void>
}

/** Rejects with `training_store_locked`, `training_store_unreadable`, `training_store_failed` or `state_foreign`. */
export async function openTrainingStore(options: OpenStoreOptions): Promise<TrainingStore> {
  return createTrainingStore(await openStore(options))
}

const everything: TimeSpan = { fromMs: Number.MIN_SAFE_INTEGER, untilMs: Number.MAX_SAFE_INTEGER }

interface StoreState extends OpenedStore {
  progress: Progress
  readonly consumed: Map<string, number>
}

function createTrainingStore(opened: OpenedStore): TrainingStore {
  const state: StoreState = { ...opened, consumed: new Map(opened.consumed) }
  const { database, layout, about } = opened
  return {
    features: layout.features,
    columns: layout.featureColumns,
    status: () => statusOf(state),
    earlierDefinition: opened.earlierDefinition,
    apply: (batch) => apply(state, batch),
    matured: (after, rowsMax) => database.read((session) => readMatured(session, layout, after, rowsMax)),
    rows: ({ fromMs, untilMs }, label) =>
      database.read((session) => {
        const values = { from: BigInt(fromMs), until: BigInt(untilMs) }
        return readRows(session, layout, { where: 'r.time_ms >= $from AND r.time_ms < $until', values, label }, false)
      }),
    find: (id) => database.read((session) => findPrediction(session, layout, id)),
    state: (consumer) => database.read((session) => readState(session, consumer)),
    saveState: (consumer, saved) => saveState(state, consumer, saved),
    saveQuality: (role, report) => database.transact((session) => saveQuality(session, role, report)),
    snapshot: (to) => database.maintain((session) => writeSnapshot(session, to)),
    exportParquet: (to, span = everything) =>
      database.read((session) => exportParquet(session, layout, about, to, span)),
    importParquet: (from) => importRows(state, from),
    query: (sql, values) => database.read((session) => session.all(sql, values)),
    close: () => database.close(),
  }
}

function statusOf({ progress, maturity }: StoreState): StoreStatus {
  return {
    partitions: progress.partitions,
    watermarkMs: storeWatermark(progress, maturity),
    maturedUntilMs: progress.maturedUntilMs,
    maturedSeq: progress.nextSeq - 1,
    rows: progress.rows,
    counts: progress.counts,
  }
}

/** The new progress is saved in the transaction of `work`, and is in effect once that is committed. */
async function change(
  state: StoreState,
  work: (session: Session, before: Progress) => Promise<Progress>,
): Promise<void> {
  state.progress = await state.database.transact(async (session) => {
    const after = await work(session, state.progress)
    await session.run('UPDATE progress SET json = $json', { json: progressToJson(after) })
    return after
  })
}

async function apply(state: StoreState, batch: Batch): Promise<StoreStatus> {
  const { layout, maturity, limits, consumed } = state
  await change(state, async (session, before) => {
    const applied = await applyBatch(session, layout, maturity, before, batch)
    return trim(session, layout, limits, applied, Math.min(applied.nextSeq - 1, ...consumed.values()))
  })
  return statusOf(state)
}

async function importRows(state: StoreState, file: string): Promise<number> {
  const before = state.progress.counts.imported
  await change(state, (session, progress) => importParquet(session, state.layout, state.about, file, progress))
  return state.progress.counts.imported - before
}

async function readState(session: Session, consumer: string): Promise<ConsumerState | null> {
  const sql = 'SELECT up_to::DOUBLE, bytes FROM states WHERE name = $consumer'
  const [found] = await session.all(sql, { consumer })
  if (found === undefined) return null
  return { upToSeq: Number(found[0]), bytes: Buffer.from((found[1] as DuckDBBlobValue).bytes) }
}

async function saveState(
  { database, consumed }: StoreState,
  consumer: string,
  { upToSeq, bytes }: ConsumerState,
): Promise<void> {
  await database.transact(async (session) => {
    await session.run('DELETE FROM states WHERE name = $consumer', { consumer })
    const values = { consumer, upTo: BigInt(upToSeq), bytes: new DuckDBBlobValue(bytes) }
    await session.run('INSERT INTO states VALUES ($consumer, $upTo, $bytes)', values)
  })
  if (consumed.has(consumer)) consumed.set(consumer, upToSeq)
}
