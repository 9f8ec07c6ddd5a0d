/**
 * Predictions and labels from Kafka into the training store, step by step: each reads a bounded batch of both, applies it and hands out the
 * rows that matured. Called by the trainer's loop (step 1) and `millrace data`. Reads without a group, from the store's own positions.
 */
import assert from 'node:assert/strict'
import type { BrokerData, FetchedPartition, Fetcher, LogRecord } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { createDefinitionLog, type DefinitionLog } from '../../runtime/definition-log.ts'
import type { Log } from '../../runtime/log.ts'
import { wholeLog } from '../../runtime/read-log.ts'
import { createOutage, type Outage, processRetry } from '../../runtime/retry.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { vectorFor } from '../../schemas/plan/feature-identity.ts'
import type { Plan, SchemasPlan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { type NoLabel, readLabel } from '../labels/read-label.ts'
import type { Batch, LabelRow, PredictionRow } from './apply.ts'
import { loggedPrediction } from './logged-prediction.ts'
import { labelStreamOf } from './open.ts'
import type { MatureRows } from './read-rows.ts'
import type { StoreStatus, TrainingStore } from './store.ts'
import { type InputName, type PartitionRead, partitionKey } from './watermark.ts'

export interface FollowStoreOptions {
  readonly broker: BrokerData
  readonly plan: Pick<Plan, 'predictions' | 'features' | 'fingerprint' | 'streams' | 'label'> & {
    readonly schemas: Pick<SchemasPlan, 'topic'>
  }
  readonly store: Pick<TrainingStore, 'status' | 'apply' | 'matured'>
  readonly clock: Pick<Clock, 'elapsedMs' | 'sleep'>
  readonly log: Pick<Log, 'warn'>
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
  /** The consumer of rows that mature; null: there is none. */
  readonly handOut: {
    /** `seq` after which rows are handed out: what the consumer has saved (`TrainingStore.state`), or 0. */
    readonly afterSeq: number
    /**
     * Takes at most `rowsMax` rows at a time, in maturity order. A consumer that saves its state with `saveState` up to the last row it
     * took sees the effect of every row exactly once.
     */
    readonly onMatured: (rows: MatureRows) => void | Promise<void>
    /** 4,096 unless given. */
    readonly rowsMax?: number
  } | null
  /** What one step reads at most, over all partitions; 8 MiB unless given, but at least a record of each partition. */
  readonly stepBytesMax?: number
  /** A step that finds the brokers failing for longer than this rejects; 5 minutes unless given. */
  readonly outageMaxMs?: number
}

export interface FollowStep {
  /** Records read, of use or not. */
  readonly records: number
  /** Everything that was in the logs has been read. */
  readonly isAtEnd: boolean
  /** Rows handed out. */
  readonly matured: number
  readonly status: StoreStatus
}

export interface StoreFollower {
  /**
   * One at a time. Does not wait for records: the caller sleeps where a step was at the end. After a failure that may pass it has waited
   * a little and read nothing. Rejects with `topic_missing`, `record_unreadable`, `state_ahead`, the broker's codes that do not pass, those
   * of the store and whatever `onMatured` rejects with.
   */
  step(): Promise<FollowStep>
  /** The same promise each time; not while a step is under way. */
  close(): Promise<void>
}

const matureRowsMaxDefault = 4_096
const stepBytesMaxDefault = 8 * 1_048_576
const partitionBytesMin = 65_536

/** A partition of one of the two topics, and the offset to read next. */
interface InputPosition {
  readonly input: InputName
  readonly topic: string
  readonly partition: number
  readonly next: number
}

interface FollowerState extends FollowStoreOptions {
  readonly labelStream: StreamPlan
  readonly topics: Readonly<Record<InputName, string>>
  readonly stepBytesMax: number
  /** `seq` of the last row that was handed out. */
  upToSeq: number
  /** Null before the first read. */
  positions: readonly InputPosition[] | null
  fetcher: Fetcher | null
  readonly outage: Outage
  readonly definitions: DefinitionLog
  /** Kinds of left-out labels that the log has a sentence about. */
  readonly warned: Set<NoLabel>
  /** Offsets that were removed from the logs before they were read, not applied yet. */
  passedOver: number
}

/** Connects with the first step. */
export function createStoreFollower(options: FollowStoreOptions): StoreFollower {
  const { plan, clock, log, random, stepBytesMax = stepBytesMaxDefault } = options
  const { outageMaxMs = processRetry.outageMaxMs } = options
  const labelStream = labelStreamOf(plan)
  const state: FollowerState = {
    ...options,
    labelStream,
    topics: { predictions: plan.predictions.topic, label: labelStream.topic },
    stepBytesMax,
    upToSeq: options.handOut?.afterSeq ?? 0,
    positions: null,
    fetcher: null,
    definitions: createDefinitionLog(options.broker, plan.schemas.topic),
    outage: createOutage({
      policy: { ...processRetry, outageMaxMs },
      clock,
      random,
      onRetry: ({ error, failures, pauseMs }) =>
        log.warn({ code: error.code, failures, pauseMs }, `training store: ${error.message}`),
    }),
    warned: new Set(),
    passedOver: 0,
  }
  let closed: Promise<void> | null = null
  let isBusy = false
  return {
    async step() {
      assert(!isBusy && closed === null, 'one step at a time, and none after close')
      isBusy = true
      try {
        return await step(state)
      } finally {
        isBusy = false
      }
    },
    close() {
      closed ??= Promise.resolve(state.fetcher?.close())
      return closed
    },
  }
}

async function step(state: FollowerState): Promise<FollowStep> {
  const { store } = state
  // First the rows that had matured and were not taken before the process ended.
  let matured = await handOut(state)
  const fetched = await readOrWait(state)
  if (fetched === null) return { records: 0, isAtEnd: false, matured, status: store.status() }
  const batch = await understood(batchOf(fetched, state), state)
  const status = await store.apply(batch)
  state.passedOver = 0
  const next = new Map(batch.read.map((one) => [partitionKey(one), one.next]))
  state.positions = state.positions!.map((one) => ({ ...one, next: next.get(partitionKey(one)) ?? one.next }))
  matured += await handOut(state)
  const records = fetched.reduce((sum, part) => sum + part.records.length, 0)
  return { records, isAtEnd: fetched.every((part) => part.next >= part.stableEnd), matured, status }
}

async function handOut(state: FollowerState): Promise<number> {
  const { store, handOut: consumer } = state
  let count = 0
  while (consumer !== null && state.upToSeq < store.status().maturedSeq) {
    const rows = await store.matured(state.upToSeq, consumer.rowsMax ?? matureRowsMaxDefault)
    if (rows.rowCount > 0) await consumer.onMatured(rows)
    // Rows that were trimmed are skipped.
    state.upToSeq = rows.seqs.at(-1) ?? store.status().maturedSeq
    count += rows.rowCount
  }
  return count
}

async function read(state: FollowerState): Promise<readonly FetchedPartition[]> {
  const { broker, topics, store, stepBytesMax } = state
  state.positions ??= await findPositions(broker, topics, store.status())
  state.fetcher ??= await broker.fetcher()
  const partitionBytesMax = Math.max(partitionBytesMin, Math.floor(stepBytesMax / state.positions.length))
  const from = state.positions.map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
  // Without a wait: only an empty answer that is as recent as its request shows how far the input has come.
  return state.fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax })
}

/** Null after a failure that may pass. */
async function readOrWait(state: FollowerState): Promise<readonly FetchedPartition[] | null> {
  try {
    const fetched = await read(state)
    state.outage.succeeded()
    return fetched
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'log_truncated') return passOver(state, error)
    const broken = state.fetcher
    state.fetcher = null
    await broken?.close()
    await state.outage.failed(error)
    return null
  }
}

/** Reads on at the start of a log whose retention has removed records that were not read yet. */
function passOver(state: FollowerState, error: PipelineError): null {
  const gone = error.details as { topic: string; partition: number; offset: number; start: number; end: number }
  const { topic, partition, start, end } = gone
  const position = state.positions?.find((one) => topic === one.topic && partition === one.partition)
  assert(position !== undefined, `${topic} partition ${partition} was not asked for`)
  if (start <= position.next) throw aheadOfKafka(position, end, error)
  state.log.warn(
    { topic, partition, from: position.next, start },
    'training store: records were removed before they were read; they are skipped',
  )
  state.passedOver += start - position.next
  state.positions = state.positions!.map((one) => (one === position ? { ...one, next: start } : one))
  return null
}

/** Where the store has read to; the start of the log for a partition that it has not read from yet. */
async function findPositions(
  broker: FollowStoreOptions['broker'],
  topics: FollowerState['topics'],
  { partitions }: StoreStatus,
): Promise<InputPosition[]> {
  const known = new Map(partitions.map((one) => [partitionKey(one), one.next]))
  const spans = await wholeLog(broker, [topics.predictions, topics.label])
  return spans.map(({ topic, partition, from, end }) => {
    const input: InputName = topic === topics.predictions ? 'predictions' : 'label'
    const position = { input, topic, partition, next: known.get(partitionKey({ input, partition })) ?? from }
    if (position.next > end) throw aheadOfKafka(position, end)
    return position
  })
}

function aheadOfKafka({ topic, partition, next }: InputPosition, end: number, cause?: unknown): PipelineError {
  return new PipelineError(
    'state_ahead',
    `The training store has read ${topic} partition ${partition} up to offset ${next}, but its log ends at ${end}: ` +
      'Kafka lost data. Start with --rebuild to build the store again from what Kafka has.',
    { cause, details: { topic, partition, next, end } },
  )
}

/** Of any definition. */
interface LoggedRow extends PredictionRow {
  readonly prediction: Prediction
}

interface LoggedBatch extends Batch {
  readonly predictions: readonly LoggedRow[]
}

/** The same with vectors of this definition: those of an earlier one lack what meant something else. */
async function understood(batch: LoggedBatch, { definitions, plan }: FollowerState): Promise<Batch> {
  const fingerprints = new Set(batch.predictions.map(({ prediction }) => prediction.fingerprint))
  fingerprints.delete(plan.fingerprint)
  if (fingerprints.size === 0) return batch
  await definitions.load(fingerprints)
  const predictions: PredictionRow[] = []
  let earlier = 0
  for (const row of batch.predictions) {
    const prediction = vectorFor(row.prediction, plan, definitions.identitiesOf(row.prediction.fingerprint))
    if (prediction === null) continue
    if (prediction !== row.prediction) earlier++
    predictions.push({ ...row, prediction })
  }
  const foreign = batch.predictions.length - predictions.length
  return { ...batch, predictions, counts: { ...batch.counts, foreign, earlier } }
}

function batchOf(fetched: readonly FetchedPartition[], state: FollowerState): LoggedBatch {
  const { positions, plan, labelStream, passedOver } = state
  const predictions: LoggedRow[] = []
  const labels: LabelRow[] = []
  const counts = { rejectedLabels: 0, rejectedValues: 0, labelsAhead: 0, passedOver }

  const takePrediction = (record: LogRecord, { partition, topic }: InputPosition): number => {
    const prediction = loggedPrediction(record, { topic, partition }, plan.predictions)
    predictions.push({ partition, offset: record.offset, key: record.key?.toString() ?? null, prediction })
    return prediction.time
  }
  const takeLabel = (record: LogRecord, { partition }: InputPosition): number => {
    const label = readLabel(record, labelStream, plan.label)
    if (typeof label === 'string') {
      counts[countOf[label]]++
      warnOnce(state, label, record.offset, partition)
      return Number.NEGATIVE_INFINITY
    }
    labels.push({ partition, offset: record.offset, label })
    return label.time
  }

  const read = fetched.map((part): PartitionRead => {
    const position = positions!.find(({ topic, partition }) => topic === part.topic && partition === part.partition)!
    const { input, partition } = position
    const take = input === 'predictions' ? takePrediction : takeLabel
    let passedMs = Number.NEGATIVE_INFINITY
    for (const record of part.records) passedMs = Math.max(passedMs, take(record, position))
    // An open transaction may still bring records before the end.
    const isAtEnd = part.age === 0 && part.next >= part.end
    return { input, partition, from: part.from, next: part.next, passedMs, isAtEnd }
  })
  return { predictions, labels, read, counts }
}

const countOf = { invalid: 'rejectedLabels', value: 'rejectedValues', ahead: 'labelsAhead' } as const
const because = {
  invalid: 'it is no valid event of the stream',
  value: 'its value is neither 0 nor 1',
  ahead: 'it is dated further ahead than the stream allows',
} as const

/** The first of each kind that this process reads; all of them are in the counts. */
function warnOnce({ log, labelStream, warned }: FollowerState, why: NoLabel, offset: number, partition: number): void {
  if (warned.has(why)) return
  warned.add(why)
  const text = `training store: a label of ${labelStream.topic} is left out because ${because[why]}; further ones are counted`
  log.warn({ topic: labelStream.topic, partition, offset, reason: why }, text)
}
