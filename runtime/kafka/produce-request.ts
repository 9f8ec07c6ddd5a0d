/**
 * The Produce request: at most one batch of each partition of one leader comes in, each partition's outcome goes out.
 */
import type { TopicPartition } from '../broker.ts'
import type { FramedRecords, Outgoing } from '../framed-records.ts'
import { type ByteReader, createByteReader } from './byte-reader.ts'
import { type ByteWriter, createByteWriter } from './byte-writer.ts'
import { type KafkaError, kafkaError } from './error-codes.ts'
import { type BatchIdentity, writeRecordBatch } from './record-batch-encoder.ts'
import { type Api, groupByTopic, type KafkaRequest } from './request.ts'

export interface Batch extends TopicPartition {
  readonly framed: FramedRecords
  /** What it was made of. */
  readonly sent: readonly Outgoing[]
  /** Sequence number of its first record. */
  readonly baseSequence: number
}

export interface BatchOutcome extends TopicPartition {
  readonly error: KafkaError
}

export interface ProduceOptions {
  readonly api: Api
  /** Null outside transactions. */
  readonly transactionalId: string | null
  readonly identity: Omit<BatchIdentity, 'baseSequence' | 'transactional'>
  /** How long the leader may wait for its followers, ms. */
  readonly ackTimeoutMs: number
}

const allInSync = -1

export function produceRequest(batches: readonly Batch[], options: ProduceOptions): KafkaRequest<BatchOutcome[]> {
  const { api, transactionalId, identity, ackTimeoutMs } = options
  const writer = createByteWriter(batches.reduce((sum, { framed }) => sum + framed.bytes.length, 256))
  const writeBatch = (batch: Batch) =>
    writeRecordBatch(writer, batch.framed, {
      ...identity,
      baseSequence: batch.baseSequence,
      transactional: transactionalId !== null,
    })
  if (api.flexible) writeFlexible(writer, batches, options, writeBatch)
  else writeClassic(writer, batches, options, writeBatch)
  const decode = api.flexible ? readFlexibleOutcomes : readOutcomes
  return { api, bytes: writer.bytes(), parkedMs: ackTimeoutMs, decode }
}

function writeClassic(
  writer: ByteWriter,
  batches: readonly Batch[],
  { transactionalId, ackTimeoutMs }: ProduceOptions,
  writeBatch: (batch: Batch) => void,
): void {
  writer.string(transactionalId)
  writer.int16(allInSync)
  writer.int32(ackTimeoutMs)
  writer.array(groupByTopic(batches), ([topic, list]) => {
    writer.string(topic)
    writer.array(list, (batch) => {
      writer.int32(batch.partition)
      writer.int32(batch.framed.bytes.length)
      writeBatch(batch)
    })
  })
}

function writeFlexible(
  writer: ByteWriter,
  batches: readonly Batch[],
  { transactionalId, ackTimeoutMs }: ProduceOptions,
  writeBatch: (batch: Batch) => void,
): void {
  writer.noTags() // of the header
  writer.compactString(transactionalId)
  writer.int16(allInSync)
  writer.int32(ackTimeoutMs)
  writer.compactArray(groupByTopic(batches), ([topic, list]) => {
    writer.compactString(topic)
    writer.compactArray(list, (batch) => {
      writer.int32(batch.partition)
      writer.unsignedVarint(batch.framed.bytes.length + 1)
      writeBatch(batch)
      writer.noTags()
    })
    writer.noTags()
  })
  writer.noTags()
}

/** Base offset, append time and start of the log, which nobody needs. */
function skipPlace(reader: ByteReader): void {
  for (let times = 0; times < 3; times++) reader.int64()
}

function readFlexibleOutcomes(body: Buffer): { throttleMs: number; answer: BatchOutcome[] } {
  const reader = createByteReader(body)
  reader.skipTags()
  const answer: BatchOutcome[] = []
  reader.compactArray(() => {
    const topic = reader.compactString() ?? ''
    reader.compactArray(() => {
      answer.push({ topic, partition: reader.int32(), error: kafkaError(reader.int16()) })
      skipPlace(reader)
      reader.compactArray(() => {
        reader.int32() // a record that was refused, and why
        reader.compactString()
        reader.skipTags()
      })
      reader.compactString()
      reader.skipTags()
    })
    reader.skipTags()
  })
  return { throttleMs: reader.int32(), answer }
}

/** Unlike other responses, its throttle time comes last. */
function readOutcomes(body: Buffer): { throttleMs: number; answer: BatchOutcome[] } {
  const reader = createByteReader(body)
  const answer: BatchOutcome[] = []
  reader.array(() => {
    const topic = reader.text()
    reader.array(() => {
      answer.push({ topic, partition: reader.int32(), error: kafkaError(reader.int16()) })
      skipPlace(reader)
    })
  })
  return { throttleMs: reader.int32(), answer }
}
