/** What a folded batch sends to Kafka: repartition records, predictions, dead letters. Pure; called in step 6. */
import type { OutRecord } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { deadLetterOf, type RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import type { Prediction, StagePosition } from '../../schemas/wire/records.ts'
import { recordOf, replayHeadersOf, type StageEvent } from './stage-event.ts'

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
export function repartitionRecords(
  { plan, stage, partition, partitionsOf }: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
): OutRecord[] {
  const repartition = stage.repartitionOut
  if (!repartition) return []
  const partitions = partitionsOf(repartition.topic)
  const nextKeys = plan.stages[stage.index + 1]!.entity.keyFields
  const records: OutRecord[] = []
  for (const { event, slots } of outputs) {
    if (!repartition.streams.includes(event.stream)) continue
    const keyField = nextKeys.get(event.stream)
    const key = Buffer.from(keyField === undefined ? event.id : (event.event[keyField] as string))
    const value = repartition.codec.encode({
      kind: 'event',
      source: partition,
      stream: event.stream,
      origin: originOf(event),
      event: event.event,
      slots: slots ? Array.from(slots.subarray(0, repartition.slots.length)) : [],
      unsent: [],
      positions: slots ? [...event.positions, stagePosition] : [],
    })
    const headers = replayHeadersOf(event)
    const record = { topic: repartition.topic, partition: partitionOf(key, partitions), key, value }
    records.push(headers ? { ...record, headers } : record)
  }
  return records
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
      origin: originOf(event),
      positions: [...event.positions, stagePosition],
      reasons,
      shadow,
    }
    records.push({ topic, partition: partitionOf(key, partitions), key, value: codec.encode(prediction) })
  }
  return records
}

function originOf({ originPartition, originOffset }: StageEvent): { partition: number; offset: number } {
  return { partition: originPartition, offset: originOffset }
}

/** A dead letter goes to the partition number that the record lay in, as far as the topic has it. */
export function deadLetterRecords(
  { plan, stage, partitionsOf }: OutputOptions,
  rejections: readonly RejectedRecord[],
): OutRecord[] {
  const { topic, codec } = plan.rejected
  const partitions = partitionsOf(topic)
  return rejections.map((rejection) => {
    const deadLetter = deadLetterOf(stage.entity.name, rejection)
    return { topic, partition: rejection.partition % partitions, key: deadLetter.key, value: codec.encode(deadLetter) }
  })
}

/**
 * The rejection of an event that failed in the fold. Later stages do not have the raw bytes: the event is encoded again with its stream's
 * schema, so that the value of a dead letter is always valid on the raw topic.
 */
export function rejectionOf(
  plan: Plan,
  stage: StagePlan,
  event: StageEvent,
  problems: RejectedRecord['problems'],
): RejectedRecord {
  const stream = plan.streams[event.stream]!
  const { partition, offset } = originOf(event)
  const { appendedAtMs, key, value, headers } = recordOf(event)
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
