/** What a folded batch sends to Kafka: repartition records, predictions, dead letters. Called in step 6. */
import type { OutRecord } from '../../runtime/broker.ts'
import { beginRecord, endRecord } from '../../runtime/framed-records.ts'
import { frameFor, type Outbox } from '../../runtime/outbox.ts'
import { murmur2, partitionOfHash } from '../../runtime/partition.ts'
import type { Plan, RepartitionPlan, StagePlan } from '../../schemas/plan/plan.ts'
import { reserve, writeBytes } from '../../schemas/wire/byte-target.ts'
import { deadLetterOf, type RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import { type TextBytes, textBytesAt } from '../../schemas/wire/event-rows.ts'
import type { WrittenPrediction } from '../../schemas/wire/prediction-writer.ts'
import { reasonsOf } from '../../schemas/wire/reason-rows.ts'
import type { Prediction, RepartitionRecord, StagePosition } from '../../schemas/wire/records.ts'
import type { WrittenEvent } from '../../schemas/wire/repartition-writer.ts'
import type { FoldedEvents } from './folded-events.ts'
import { recordOf, replayHeadersOf, type StageEvent } from './stage-event.ts'

export interface OutputOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  /** Partition of the sending task. */
  readonly partition: number
  readonly partitionsOf: (topic: string) => number
  readonly outbox: Outbox
}

/** Events for the next stage, in the order in which they were folded. */
export function sendOn(
  options: OutputOptions,
  repartition: RepartitionPlan,
  folded: FoldedEvents,
  stagePosition: StagePosition,
): void {
  const { plan, stage, partitionsOf } = options
  const partitions = partitionsOf(repartition.topic)
  const nextKeys = plan.stages[stage.index + 1]!.entity.keyFields
  // An event without a key there may be anywhere: it goes by its id.
  const keyColumns = plan.streams.map(({ index, columns, codec: { layout } }) => {
    return layout.fields.find(({ name }) => name === nextKeys.get(index))?.column ?? columns.id
  })
  const written = eventFrom(options.partition, stagePosition)
  const { count, events, rows: numberRows, numbers, width } = folded
  for (let i = 0; i < count; i++) {
    const event = events[i]!
    const { stream, rows, row } = event
    if (!repartition.streams.includes(stream)) continue
    const key = textBytesAt(rows, row * rows.layout.textCount + keyColumns[stream]!)
    written.slots = numberRows[i]! < 0 ? null : numbers
    written.slotsFrom = numberRows[i]! * width
    sendEvent(options, repartition, event, key, partitionFor(key, partitions), written)
  }
}

/** One for all events of a task: what differs is set for each. */
function eventFrom(source: number, position: StagePosition): Writable<WrittenEvent> {
  const body = { bytes: Buffer.alloc(0), bodyStart: -1, bodyEnd: -1 }
  return {
    source,
    originPartition: 0,
    originOffset: 0,
    ...body,
    slots: null,
    slotsFrom: 0,
    positionsBefore: [],
    position,
  }
}

function sendEvent(
  { outbox }: OutputOptions,
  { topic, codec, slots: sentSlots }: RepartitionPlan,
  event: StageEvent,
  key: TextBytes,
  partition: number,
  written: Writable<WrittenEvent>,
): void {
  const { rows, row } = event
  const bodyStart = rows.bodyStarts[row]!
  const write = codec.writers[event.stream]
  if (bodyStart < 0 || write === undefined) {
    const value = codec.encode(plainEvent(event, sentSlots.length, written))
    sendValue(outbox, topic, partition, key, value, replayHeadersOf(event))
    return
  }
  written.originPartition = event.originPartition
  written.originOffset = event.originOffset
  written.positionsBefore = event.positions
  written.bytes = rows.bytes
  written.bodyStart = bodyStart
  written.bodyEnd = rows.bodyEnds[row]!
  const frame = frameFor(outbox, topic, partition, written.bodyEnd - bodyStart)
  beginRecord(frame, key.bytes, key.start, key.end)
  write(frame.target, written)
  endRecord(frame, replayHeadersOf(event))
}

function plainEvent(
  event: StageEvent,
  slotCount: number,
  { source, slots, slotsFrom, position }: WrittenEvent,
): RepartitionRecord {
  return {
    kind: 'event',
    source,
    stream: event.stream,
    origin: originOf(event),
    event: event.event,
    slots: slots ? Array.from({ length: slotCount }, (_, i) => slots[slotsFrom + i]!) : [],
    unsent: [],
    positions: slots ? [...event.positions, position] : [],
  }
}

export function sendPredictions(options: OutputOptions, folded: FoldedEvents, stagePosition: StagePosition): void {
  const { plan, partitionsOf, outbox } = options
  const { topic, codec } = plan.predictions
  const { columns, codec: raw } = plan.scored
  const { textCount } = raw.layout
  const partitions = partitionsOf(topic)
  const written = predictionOf(plan, stagePosition)
  const { count, events, rows: vectorRows } = folded
  for (let i = 0; i < count; i++) {
    if (vectorRows[i]! < 0) continue
    const event = events[i]!
    const { rows, row } = event
    const key = textBytesAt(rows, row * textCount + columns.key)
    const partition = partitionFor(key, partitions)
    setPrediction(written, event, folded, vectorRows[i]!)
    if (codec.write === null)
      sendValue(outbox, topic, partition, key, codec.encode(plainPrediction(written, event.id, folded.width)))
    else {
      const idBytes = written.idStart < 0 ? 3 * written.id.length : written.idEnd - written.idStart
      const frame = frameFor(outbox, topic, partition, idBytes)
      beginRecord(frame, key.bytes, key.start, key.end)
      codec.write(frame.target, written)
      endRecord(frame)
    }
  }
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] }

/** One for all predictions of a task: what differs is set for each. */
function predictionOf({ fingerprint }: Plan, position: StagePosition): Writable<WrittenPrediction> {
  const id = { id: '', idBytes: Buffer.alloc(0), idStart: -1, idEnd: -1 }
  const scored = {
    score: null,
    modelVersion: null,
    vector: noNumbers,
    vectorFrom: 0,
    reasons: null,
    reasonsOf: 0,
    shadow: none,
  }
  return { ...id, time: 0, ...scored, fingerprint, originPartition: 0, originOffset: 0, positionsBefore: [], position }
}

const noNumbers = new Float64Array(0)
const none: readonly never[] = []

function setPrediction(
  written: Writable<WrittenPrediction>,
  event: StageEvent,
  { modelVersion, scores, numbers, width, reasons, shadows }: FoldedEvents,
  vectorRow: number,
): void {
  const { rows, idAt } = event
  const idStart = rows.textStarts[idAt]!
  if (idStart < 0) written.id = event.id
  written.idBytes = rows.bytes
  written.idStart = idStart
  written.idEnd = rows.textEnds[idAt]!
  written.time = event.time
  written.score = modelVersion === null ? null : scores[vectorRow]!
  written.modelVersion = modelVersion
  written.vector = numbers
  written.vectorFrom = vectorRow * width
  written.reasons = modelVersion === null ? null : reasons
  written.reasonsOf = vectorRow
  written.shadow = shadows.length === 0 ? none : shadows[vectorRow]!
  written.originPartition = event.originPartition
  written.originOffset = event.originOffset
  written.positionsBefore = event.positions
}

function plainPrediction(written: WrittenPrediction, id: string, width: number): Prediction {
  const { time, score, modelVersion, fingerprint, shadow } = written
  const { vector, vectorFrom, reasons, reasonsOf: scored, originPartition, originOffset } = written
  return {
    ...{ id, time, score, modelVersion, fingerprint, shadow },
    features: Array.from({ length: width }, (_, i) => vector[vectorFrom + i]!),
    reasons: reasons === null ? [] : reasonsOf(reasons, scored),
    origin: { partition: originPartition, offset: originOffset },
    positions: [...written.positionsBefore, written.position],
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
