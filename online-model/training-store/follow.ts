/**
 * Predictions and label stream from Kafka into the training store, step by step: each reads a bounded piece of both, applies it and hands
 * out what matured. The trainer's loop calls it for as long as it runs. Reads without a group, from the store's own positions.
 */
import assert from 'node:assert/strict'
import type { Broker, FetchedPartition, Fetcher, LogRecord } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { wholeLog } from '../../runtime/read-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import { readLabel } from '../labels/read-label.ts'
import type { Batch, LabelRow, PredictionRow } from './apply.ts'
import { labelStreamOf } from './open.ts'
import type { MatureRows } from './read-rows.ts'
import type { StoreStatus, TrainingStore } from './store.ts'
import { type InputName, type PartitionRead, placeKey } from './watermark.ts'

export interface FollowStoreOptions {
  readonly broker: Pick<Broker, 'partitionCounts' | 'bounds' | 'fetcher'>
  readonly plan: Pick<Plan, 'predictions' | 'fingerprint' | 'streams' | 'label'>
  readonly store: Pick<TrainingStore, 'status' | 'apply' | 'matured'>
  readonly clock: Pick<Clock, 'elapsedMs' | 'sleep'>
  readonly log: Pick<Log, 'warn'>
  /** Who takes what matures; null: nobody does. */
  readonly handOut: {
    /** Place in the maturity order after which rows are handed out: what the consumer has saved (`TrainingStore.state`), or 0. */
    readonly afterSeq: number
    /**
     * Takes what matured, at most `rowsMax` rows at a time and in order. Where it saves its own state with `saveState` up to the last row
     * it took, every row is taken once, whatever happens in between.
     */
    readonly onMatured: (rows: MatureRows) => void | Promise<void>
    /** 4,096 unless told. */
    readonly rowsMax?: number
  } | null
  /** What one step reads at most, over all partitions; 8 MiB unless told, but a record of each partition. */
  readonly stepBytesMax?: number
  /** A step that finds the brokers failing for longer than this rejects; 5 minutes unless told. */
  readonly outageMaxMs?: number
}

export interface FollowStep {
  /** Records read, of use or not. */
  readonly records: number
  /** Everything that was there has been read. Nothing more is to be expected at once. */
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

const backoffFirstMs = 100
const backoffMaxMs = 5_000
const matureRowsMaxDefault = 4_096
const stepBytesMaxDefault = 8 * 1_048_576
const outageMaxMsDefault = 300_000
const partitionBytesMin = 65_536

/** A partition of one of the two topics, and where to read on. */
interface Place {
  readonly input: InputName
  readonly topic: string
  readonly partition: number
  readonly next: number
}

/** Connects with the first step. */
export function createStoreFollower(options: FollowStoreOptions): StoreFollower {
  const { broker, plan, store, clock, log, handOut: consumer } = options
  const { stepBytesMax = stepBytesMaxDefault, outageMaxMs = outageMaxMsDefault } = options
  const labelStream = labelStreamOf(plan)
  const topics: Readonly<Record<InputName, string>> = { predictions: plan.predictions.topic, label: labelStream.topic }
  let upToSeq = consumer?.afterSeq ?? 0
  let places: readonly Place[] | null = null
  let fetcher: Fetcher | null = null
  let closed: Promise<void> | null = null
  let isBusy = false
  let failing: { readonly sinceMs: number; readonly failures: number } | null = null
  /** Offsets that were removed from the logs before they were read, not applied yet. */
  let passedOver = 0

  async function read(): Promise<readonly FetchedPartition[]> {
    places ??= await findPlaces(broker, topics, store.status())
    fetcher ??= await broker.fetcher()
    const partitionBytesMax = Math.max(partitionBytesMin, Math.floor(stepBytesMax / places.length))
    const from = places.map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
    // Without a wait, so that an empty answer was asked for now: only then it tells how far the input has come.
    return fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax })
  }

  /** Null after a failure that may pass. */
  async function readOrWait(): Promise<readonly FetchedPartition[] | null> {
    try {
      const fetched = await read()
      failing = null
      return fetched
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      if (error.code === 'log_truncated') return passOver(error)
      if (!error.retry) throw error
      failing = { sinceMs: failing?.sinceMs ?? clock.elapsedMs(), failures: (failing?.failures ?? 0) + 1 }
      if (clock.elapsedMs() - failing.sinceMs > outageMaxMs) throw error
      const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** (failing.failures - 1))
      log.warn({ code: error.code, failures: failing.failures, delayMs }, `training store: ${error.message}`)
      await fetcher?.close()
      fetcher = null
      await clock.sleep(delayMs)
      return null
    }
  }

  function passOver(error: PipelineError): null {
    const gone = error.details as { topic: string; partition: number; offset: number; start: number; end: number }
    const place = places?.find(({ topic, partition }) => topic === gone.topic && partition === gone.partition)
    assert(place !== undefined, `${gone.topic} partition ${gone.partition} was not asked for`)
    if (gone.start <= place.next) throw aheadOfKafka(place, gone.end, error)
    log.warn(
      { topic: gone.topic, partition: gone.partition, from: place.next, start: gone.start },
      'training store: records were removed before they were read; they are passed over',
    )
    passedOver += gone.start - place.next
    places = places!.map((one) => (one === place ? { ...one, next: gone.start } : one))
    return null
  }

  async function handOut(): Promise<number> {
    let count = 0
    while (consumer !== null && upToSeq < store.status().maturedSeq) {
      const rows = await store.matured(upToSeq, consumer.rowsMax ?? matureRowsMaxDefault)
      if (rows.rowCount > 0) await consumer.onMatured(rows)
      // What was trimmed is not there any more.
      upToSeq = rows.seqs.at(-1) ?? store.status().maturedSeq
      count += rows.rowCount
    }
    return count
  }

  async function step(): Promise<FollowStep> {
    // What matured before the process ended and was not taken, first.
    let matured = await handOut()
    const fetched = await readOrWait()
    if (fetched === null) return { records: 0, isAtEnd: false, matured, status: store.status() }
    const batch = batchOf(fetched, { places: places!, plan, labelStream, passedOver })
    const status = await store.apply(batch)
    passedOver = 0
    const next = new Map(batch.read.map((one) => [placeKey(one), one.next]))
    places = places!.map((place) => ({ ...place, next: next.get(placeKey(place)) ?? place.next }))
    matured += await handOut()
    const records = fetched.reduce((sum, part) => sum + part.records.length, 0)
    return { records, isAtEnd: fetched.every((part) => part.next >= part.stableEnd), matured, status }
  }

  return {
    async step() {
      assert(!isBusy && closed === null, 'one step at a time, and none after close')
      isBusy = true
      try {
        return await step()
      } finally {
        isBusy = false
      }
    },
    close() {
      closed ??= Promise.resolve(fetcher?.close())
      return closed
    },
  }
}

/** Where the store goes on; from the start of the log where it has read nothing yet. */
async function findPlaces(
  broker: FollowStoreOptions['broker'],
  topics: Readonly<Record<InputName, string>>,
  { partitions }: StoreStatus,
): Promise<Place[]> {
  const known = new Map(partitions.map((place) => [placeKey(place), place.next]))
  const spans = await wholeLog(broker, [topics.predictions, topics.label])
  return spans.map(({ topic, partition, from, end }) => {
    const input: InputName = topic === topics.predictions ? 'predictions' : 'label'
    const place = { input, topic, partition, next: known.get(placeKey({ input, partition })) ?? from }
    if (place.next > end) throw aheadOfKafka(place, end)
    return place
  })
}

function aheadOfKafka({ topic, partition, next }: Place, end: number, cause?: unknown): PipelineError {
  return new PipelineError(
    'state_ahead',
    `The training store has read ${topic} partition ${partition} up to offset ${next}, but its log ends at ${end}: ` +
      'Kafka lost data. Start with --rebuild to build the store anew from what Kafka has.',
    { cause, details: { topic, partition, next, end } },
  )
}

interface BatchParts {
  readonly places: readonly Place[]
  readonly plan: FollowStoreOptions['plan']
  readonly labelStream: StreamPlan
  readonly passedOver: number
}

function batchOf(fetched: readonly FetchedPartition[], { places, plan, labelStream, passedOver }: BatchParts): Batch {
  const predictions: PredictionRow[] = []
  const labels: LabelRow[] = []
  const counts = { foreign: 0, rejectedLabels: 0, labelsAhead: 0, passedOver }

  const takePrediction = (record: LogRecord, place: Place): number => {
    const prediction = decode(record, place, plan)
    const { partition } = place
    if (prediction.fingerprint !== plan.fingerprint) counts.foreign++
    else predictions.push({ partition, offset: record.offset, key: record.key?.toString() ?? null, prediction })
    return prediction.time
  }
  const takeLabel = (record: LogRecord, { partition }: Place): number => {
    const label = readLabel(record, labelStream, plan.label)
    if (label === 'rejected') counts.rejectedLabels++
    else if (label === 'ahead') counts.labelsAhead++
    else {
      labels.push({ partition, offset: record.offset, label })
      return label.time
    }
    return Number.NEGATIVE_INFINITY
  }

  const read = fetched.map((part): PartitionRead => {
    const place = places.find(({ topic, partition }) => topic === part.topic && partition === part.partition)!
    const { input, partition } = place
    const take = input === 'predictions' ? takePrediction : takeLabel
    let passedMs = Number.NEGATIVE_INFINITY
    for (const record of part.records) passedMs = Math.max(passedMs, take(record, place))
    // An open transaction may still bring records before the end.
    const isAtEnd = part.age === 0 && part.next >= part.end
    return { input, partition, from: part.from, next: part.next, passedMs, isAtEnd }
  })
  return { predictions, labels, read, counts }
}

function decode(record: LogRecord, { topic, partition }: Place, plan: FollowStoreOptions['plan']) {
  const place = `${topic} partition ${partition} offset ${record.offset}`
  if (record.value === null) {
    throw new PipelineError('record_unreadable', `The prediction at ${place} has no value.`, { details: { place } })
  }
  return plan.predictions.codec.decode(record.value)
}
