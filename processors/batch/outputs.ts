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
import type { Prediction, RepartitionRecord, StagePosition } from '../../schemas/wire/records.ts'
import type { WrittenEvent } from '../../schemas/wire/repartition-writer.ts'
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
  const written = eventFrom(options.partition, stagePosition)
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i]!
    const { stream, rows, row } = output.event
    if (!repartition.streams.includes(stream)) continue
    const key = textBytesAt(rows, row * rows.layout.textCount + keyColumns[stream]!)
    sendEvent(options, repartition, output, key, partitionFor(key, partitions), written)
  }
}

/** One for all events of a task: what differs is set for each. */
function eventFrom(source: number, position: StagePosition): Writable<WrittenEvent> {
  const body = { bytes: Buffer.alloc(0), bodyStart: -1, bodyEnd: -1 }
  return { source, originPartition: 0, originOffset: 0, ...body, slots: null, positionsBefore: [], position }
}

function sendEvent(
  { outbox }: OutputOptions,
  { topic, codec }: RepartitionPlan,
  { event, slots }: Output,
  key: TextBytes,
  partition: number,
  written: Writable<WrittenEvent>,
): void {
  const { rows, row } = event
  const bodyStart = rows.bodyStarts[row]!
  const write = codec.writers[event.stream]
  if (bodyStart < 0 || write === undefined) {
    const value = codec.encode(plainEvent(event, slots, written))
    sendValue(outbox, topic, partition, key, value, replayHeadersOf(event))
    return
  }
  written.originPartition = event.originPartition
  written.originOffset = event.originOffset
  written.positionsBefore = event.positions
  written.bytes = rows.bytes
  written.bodyStart = bodyStart
  written.bodyEnd = rows.bodyEnds[row]!
  written.slots = slots
  const frame = frameFor(outbox, topic, partition, written.bodyEnd - bodyStart)
  beginRecord(frame, key.bytes, key.start, key.end)
  write(frame.target, written)
  endRecord(frame, replayHeadersOf(event))
}

function plainEvent(
  event: StageEvent,
  slots: Float64Array | null,
  { source, position }: WrittenEvent,
): RepartitionRecord {
  return {
    kind: 'event',
    source,
    stream: event.stream,
    origin: originOf(event),
    event: event.event,
    slots: slots ? Array.from(slots) : [],
    unsent: [],
    positions: slots ? [...event.positions, position] : [],
  }
}

export function sendPredictions(
  options: OutputOptions,
  outputs: readonly Output[],
  stagePosition: StagePosition,
): void {
  const { plan, partitionsOf, outbox } = options
  const { topic, codec } = plan.predictions
  const { columns, codec: raw } = plan.scored
  const { textCount } = raw.layout
  const partitions = partitionsOf(topic)
  const written = predictionOf(plan, stagePosition)
  for (let i = 0; i < outputs.length; i++) {
    const output = outputs[i]!
    if (!output.vector) continue
    const { rows, row } = output.event
    const key = textBytesAt(rows, row * textCount + columns.key)
    const partition = partitionFor(key, partitions)
    setPrediction(written, output)
    if (codec.write === null)
      sendValue(outbox, topic, partition, key, codec.encode(plainPrediction(written, output.event.id)))
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
  const scored = { score: null, modelVersion: null, vector: [], reasons: [], shadow: [] }
  return { ...id, time: 0, ...scored, fingerprint, originPartition: 0, originOffset: 0, positionsBefore: [], position }
}

function setPrediction(written: Writable<WrittenPrediction>, output: Output): void {
  const { event } = output
  const { rows, idAt } = event
  const idStart = rows.textStarts[idAt]!
  if (idStart < 0) written.id = event.id
  written.idBytes = rows.bytes
  written.idStart = idStart
  written.idEnd = rows.textEnds[idAt]!
  written.time = event.time
  written.score = output.score
  written.modelVersion = output.modelVersion
  written.vector = output.vector!
  written.reasons = output.reasons
  written.shadow = output.shadow
  written.originPartition = event.originPartition
  written.originOffset = event.originOffset
  written.positionsBefore = event.positions
}

function plainPrediction(written: WrittenPrediction, id: string): Prediction {
  const { idBytes, idStart, idEnd, vector, originPartition, originOffset, positionsBefore, position, ...rest } = written
  return {
    ...rest,
    id,
    features: Array.from(vector),
    origin: { partition: originPartition, offset: originOffset },
    positions: [...positionsBefore, position],
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
