/** What a folded batch sends to Kafka: repartition records, predictions, dead letters. Called in step 6. */
import type { OutRecord } from '../../runtime/broker.ts'
import { beginRecord, endRecord } from '../../runtime/framed-records.ts'
import { frameFor, type Outbox } from '../../runtime/outbox.ts'
import { murmur2, partitionOfHash } from '../../runtime/partition.ts'
import type { Plan, RepartitionPlan, StagePlan } from '../../schemas/plan/plan.ts'
import { reserve, writeBytes } from '../../schemas/wire/byte-target.ts'
import { deadLetterOf, type RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import { type TextBytes, textBytesAt } from '../../schemas/wire/event-rows.ts'
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
  readonly outbox: Outbox
}

/** Events for the next stage, in the order in which they were folded. */
export function sendOn(options: OutputOptions, outputs: readonly Output[], stagePosition: StagePosition): void {
  const { plan, stage, partitionsOf } = options
  const repartition = stage.repartitionOut
  if (!repartition) return
  const partitions = partitionsOf(repartition.topic)
  const nextKeys = plan.stages[stage.index + 1]!.entity.keyFields
  // An event without a key there may be anywhere: it goes by its id.
  const keyColumns = plan.streams.map(({ index, columns, codec: { layout } }) => {
    return layout.fields.find(({ name }) => name === nextKeys.get(index))?.column ?? columns.id
  })
  for (const output of outputs) {
    const { stream, rows, row } = output.event
    if (!repartition.streams.includes(stream)) continue
    const key = textBytesAt(rows, row * rows.layout.textCount + keyColumns[stream]!)
    sendEvent(options, repartition, output, key, partitionFor(key, partitions), stagePosition)
  }
}

function sendEvent(
  { partition: source, outbox }: OutputOptions,
  { topic, codec }: RepartitionPlan,
  { event, slots }: Output,
  key: TextBytes,
  partition: number,
  position: StagePosition,
): void {
  const { rows, row, originPartition, originOffset, positions: positionsBefore } = event
  const { bytes } = rows
  const bodyStart = rows.bodyStarts[row]!
  const bodyEnd = rows.bodyEnds[row]!
  const write = codec.writers[event.stream]
  if (bodyStart >= 0 && write !== undefined) {
    const frame = frameFor(outbox, topic, partition, bodyEnd - bodyStart)
    beginRecord(frame, key.bytes, key.start, key.end)
    const from = { source, originPartition, originOffset, positionsBefore, position }
    write(frame.target, { ...from, bytes, bodyStart, bodyEnd, slots })
    endRecord(frame, replayHeadersOf(event))
    return
  }
  const value = codec.encode({
    kind: 'event',
    source,
    stream: event.stream,
    origin: originOf(event),
    event: event.event,
    slots: slots ? Array.from(slots) : [],
    unsent: [],
    positions: slots ? [...positionsBefore, position] : [],
  })
  sendValue(outbox, topic, partition, key, value, replayHeadersOf(event))
}

export function sendPredictions(
  options: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
): void {
  const { plan, partitionsOf, outbox } = options
  const { topic, codec } = plan.predictions
  const { columns } = plan.scored
  const { fingerprint } = plan
  const partitions = partitionsOf(topic)
  for (const { event, vector, score, modelVersion, reasons, shadow } of outputs) {
    if (!vector) continue
    const { rows, row, id, time, originPartition, originOffset, positions: positionsBefore } = event
    const firstText = row * rows.layout.textCount
    const key = textBytesAt(rows, firstText + columns.key)
    const partition = partitionFor(key, partitions)
    const prediction = { time, score, modelVersion, fingerprint, reasons, shadow }
    if (codec.write === null) {
      const features = Array.from(vector)
      const positions = [...positionsBefore, stagePosition]
      const value = codec.encode({ ...prediction, id, features, origin: originOf(event), positions })
      sendValue(outbox, topic, partition, key, value)
      continue
    }
    const idAt = firstText + columns.id
    const text = { id, idBytes: rows.bytes, idStart: rows.textStarts[idAt]!, idEnd: rows.textEnds[idAt]! }
    const frame = frameFor(outbox, topic, partition, id.length * 3)
    beginRecord(frame, key.bytes, key.start, key.end)
    const from = { originPartition, originOffset, positionsBefore, position: stagePosition }
    codec.write(frame.target, { ...prediction, ...text, ...from, vector })
    endRecord(frame)
  }
}

function sendValue(
  outbox: Outbox,
  topic: string,
  partition: number,
  key: TextBytes,
  value: Buffer,
  headers?: OutRecord['headers'] | null,
): void {
  const frame = frameFor(outbox, topic, partition, value.length)
  beginRecord(frame, key.bytes, key.start, key.end)
  reserve(frame.target, value.length)
  writeBytes(frame.target, value, 0, value.length)
  endRecord(frame, headers)
}

function partitionFor({ bytes, start, end }: TextBytes, partitions: number): number {
  return partitionOfHash(murmur2(bytes, start, end), partitions)
}

function originOf({ originPartition, originOffset }: StageEvent): { partition: number; offset: number } {
  return { partition: originPartition, offset: originOffset }
}

/** A dead letter goes to the partition number that the record lay in, as far as the topic has it. */
export function deadLetterRecords(
  { plan, stage, partitionsOf }: Omit<OutputOptions, 'outbox'>,
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
