/** What a folded batch sends to Kafka: hop records with watermarks, predictions, dead letters. Pure; called in step 6. */
import type { OutRecord } from '../runtime/broker.ts'
import { partitionOf } from '../runtime/partition.ts'
import type { HopEvent, HopRecord, Plan, Prediction, Rejection, StagePlan, StagePosition } from '../schemas/plan.ts'
import type { Refusal, StageEvent } from './stage-event.ts'

/** An event that was folded, with what the fold and the score gave. */
export interface Output {
  readonly event: StageEvent
  readonly slots: Float64Array | null
  readonly vector: Float64Array | null
  score: number | null
  modelVersion: string | null
  reasons: Prediction['reasons']
}

export interface OutputOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  /** Partition of the sending task. */
  readonly partition: number
  readonly partitionsOf: (topic: string) => number
}

/**
 * Events for the next stage, in the order in which they were folded. The last record to each partition says how far the task has come;
 * a partition that gets no event gets a bare mark, so that nobody waits for this task in vain.
 */
export function hopRecords(
  options: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
  passedTime: number,
): OutRecord[] {
  const { plan, stage, partition, partitionsOf } = options
  const hop = stage.hopOut!
  const partitions = partitionsOf(hop.topic)
  const nextKeys = plan.stages[stage.index + 1]!.entity.keyFields
  const records: OutRecord[] = []
  const lastTo = new Map<number, { at: number; record: HopEvent; key: Buffer }>()
  let watermark = Number.NEGATIVE_INFINITY
  for (const { event, slots } of outputs) {
    if (!hop.streams.includes(event.stream)) continue
    if (event.time > watermark) watermark = event.time
    const keyField = nextKeys.get(event.stream)
    const key = Buffer.from(keyField === undefined ? event.id : (event.event[keyField] as string))
    const to = partitionOf(key, partitions)
    const record: HopEvent = {
      kind: 'event',
      source: partition,
      watermark,
      idle: false,
      stream: event.stream,
      origin: event.origin,
      event: event.event,
      slots: slots ? Array.from(slots.subarray(0, hop.slots.length)) : [],
      positions: slots ? [...event.positions, stagePosition] : [],
    }
    lastTo.set(to, { at: records.length, record, key })
    records.push({ topic: hop.topic, partition: to, key, value: hop.codec.encode(record) })
  }
  for (const [to, { at, record, key }] of lastTo) {
    if (record.watermark === passedTime) continue
    records[at] = {
      topic: hop.topic,
      partition: to,
      key,
      value: hop.codec.encode({ ...record, watermark: passedTime }),
    }
  }
  return [...records, ...marks(options, { watermark: passedTime, idle: false }, (to) => !lastTo.has(to))]
}

/** Bare marks to the partitions of the next stage. */
export function marks(
  { stage, partition, partitionsOf }: OutputOptions,
  stamp: { readonly watermark: number; readonly idle: boolean },
  isWanted: (to: number) => boolean = () => true,
): OutRecord[] {
  const hop = stage.hopOut!
  // Before its first event a task has passed nothing, and time begins at 1970 for topics.
  const watermark = Math.max(0, stamp.watermark)
  const mark: HopRecord = { kind: 'mark', source: partition, watermark, idle: stamp.idle }
  const value = hop.codec.encode(mark)
  return Array.from({ length: partitionsOf(hop.topic) }, (_, to) => to)
    .filter(isWanted)
    .map((to) => ({ topic: hop.topic, partition: to, key: null, value }))
}

export function predictionRecords(
  { plan, partitionsOf }: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
): OutRecord[] {
  const { topic, codec } = plan.predictions
  const partitions = partitionsOf(topic)
  const records: OutRecord[] = []
  for (const { event, vector, score, modelVersion, reasons } of outputs) {
    if (!vector) continue
    const key = Buffer.from(event.event[plan.scored.keyField] as string)
    const prediction: Prediction = {
      id: event.id,
      time: event.time,
      score,
      modelVersion,
      features: Array.from(vector),
      fingerprint: plan.fingerprint,
      origin: event.origin,
      positions: [...event.positions, stagePosition],
      reasons,
    }
    records.push({ topic, partition: partitionOf(key, partitions), key, value: codec.encode(prediction) })
  }
  return records
}

/** A dead letter goes to the partition number that the record lay in, as far as the topic has it. */
export function rejectionRecords(
  { plan, stage, partitionsOf }: OutputOptions,
  refusals: readonly Refusal[],
): OutRecord[] {
  const { topic, codec } = plan.rejected
  const partitions = partitionsOf(topic)
  return refusals.map((refusal) => {
    const rejection: Rejection = { stage: stage.entity.name, ...refusal }
    return { topic, partition: refusal.partition % partitions, key: refusal.key, value: codec.encode(rejection) }
  })
}

/**
 * The refusal of an event that failed in the fold. Later stages have no raw bytes: the event is written anew with its stream's schema,
 * so that a dead letter is always something that the raw topic takes.
 */
export function refusalOf(plan: Plan, stage: StagePlan, event: StageEvent, problems: Refusal['problems']): Refusal {
  const stream = plan.streams[event.stream]!
  const { partition, offset } = event.origin
  const { appendedAtMs, key, value } = event.record
  const isRaw = stage.rawStreams.includes(event.stream)
  return {
    topic: stream.topic,
    partition,
    offset,
    appendedAtMs,
    key: isRaw ? key : Buffer.from(event.event[stream.keyField] as string),
    value: isRaw ? value : stream.codec.encode(event.event),
    problems,
  }
}
