/** What a folded batch sends to Kafka: hop records and marks, predictions, dead letters. Pure; called in step 6. */
import type { OutRecord } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import type { HopPlan, Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { deadLetter, type RefusedRecord } from '../../schemas/wire/dead-letter.ts'
import type { HopMark, Prediction, StagePosition } from '../../schemas/wire/records.ts'
import { replayHeadersOf, type StageEvent } from './stage-event.ts'

/** An event that was folded, with what the fold and the score gave. */
export interface Output {
  readonly event: StageEvent
  readonly slots: Float64Array | null
  readonly vector: Float64Array | null
  score: number | null
  modelVersion: string | null
  reasons: Prediction['reasons']
  shadow: Prediction['shadow']
}

export interface OutputOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  /** Partition of the sending task. */
  readonly partition: number
  readonly partitionsOf: (topic: string) => number
}

/** Events for the next stage, in the order in which they were folded. */
export function hopRecords(
  { plan, stage, partition, partitionsOf }: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
): OutRecord[] {
  const hop = stage.hopOut
  if (!hop) return []
  const partitions = partitionsOf(hop.topic)
  const nextKeys = plan.stages[stage.index + 1]!.entity.keyFields
  const records: OutRecord[] = []
  for (const { event, slots } of outputs) {
    if (!hop.streams.includes(event.stream)) continue
    const keyField = nextKeys.get(event.stream)
    const key = Buffer.from(keyField === undefined ? event.id : (event.event[keyField] as string))
    const value = hop.codec.encode({
      kind: 'event',
      source: partition,
      stream: event.stream,
      origin: event.origin,
      event: event.event,
      slots: slots ? Array.from(slots.subarray(0, hop.slots.length)) : [],
      positions: slots ? [...event.positions, stagePosition] : [],
    })
    const headers = replayHeadersOf(event)
    const record = { topic: hop.topic, partition: partitionOf(key, partitions), key, value }
    records.push(headers ? { ...record, headers } : record)
  }
  return records
}

/** How far tasks of a stage have come, for every partition of the next one. */
export function markRecords(hop: HopPlan, mark: HopMark, partitions: number): OutRecord[] {
  // Before its first event a task has passed nothing, and time begins at 1970 for topics.
  const value = hop.codec.encode({
    ...mark,
    sources: mark.sources.map((source) => ({
      ...source,
      watermark: Math.max(0, source.watermark),
      horizon: source.horizon !== null && source.horizon >= 0 ? source.horizon : null,
      until: source.until && dated(source.until),
    })),
    heard: mark.heard.map(dated),
  })
  return Array.from({ length: partitions }, (_, to) => ({ topic: hop.topic, partition: to, key: null, value }))
}

function dated({ time, order }: CanonicalPosition): CanonicalPosition {
  return { time: Math.max(0, time), order }
}

export function predictionRecords(
  { plan, partitionsOf }: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
): OutRecord[] {
  const { topic, codec } = plan.predictions
  const partitions = partitionsOf(topic)
  const records: OutRecord[] = []
  for (const { event, vector, score, modelVersion, reasons, shadow } of outputs) {
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
      shadow,
    }
    records.push({ topic, partition: partitionOf(key, partitions), key, value: codec.encode(prediction) })
  }
  return records
}

/** A dead letter goes to the partition number that the record lay in, as far as the topic has it. */
export function rejectionRecords(
  { plan, stage, partitionsOf }: OutputOptions,
  refusals: readonly RefusedRecord[],
): OutRecord[] {
  const { topic, codec } = plan.rejected
  const partitions = partitionsOf(topic)
  return refusals.map((refusal) => {
    const letter = deadLetter(stage.entity.name, refusal)
    return { topic, partition: refusal.partition % partitions, key: letter.key, value: codec.encode(letter) }
  })
}

/**
 * The refusal of an event that failed in the fold. Later stages have no raw bytes: the event is written anew with its stream's schema,
 * so that a dead letter is always something that the raw topic takes.
 */
export function refusalOf(
  plan: Plan,
  stage: StagePlan,
  event: StageEvent,
  problems: RefusedRecord['problems'],
): RefusedRecord {
  const stream = plan.streams[event.stream]!
  const { partition, offset } = event.origin
  const { appendedAtMs, key, value, headers } = event.record
  const isRaw = stage.rawStreams.includes(event.stream)
  return {
    topic: stream.topic,
    partition,
    offset,
    appendedAtMs,
    key: isRaw ? key : Buffer.from(event.event[stream.keyField] as string),
    value: isRaw ? value : stream.codec.encode(event.event),
    headers,
    problems,
  }
}
