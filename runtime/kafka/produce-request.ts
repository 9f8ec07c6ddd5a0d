/**
 * The Produce request: at most one batch of each partition of one leader comes in, each partition's outcome goes out.
 */
import type { TopicPartition } from '../broker.ts'
import type { FramedRecords, Outgoing } from '../framed-records.ts'
import { type ByteReader, createByteReader } from './byte-reader.ts'
import { createByteWriter } from './byte-writer.ts'
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
  const string = api.flexible ? writer.compactString : writer.string
  const array = api.flexible ? writer.compactArray : writer.array
  const endTags = api.flexible ? writer.noTags : () => undefined
  endTags() // of the header
  string(transactionalId)
  writer.int16(allInSync)
  writer.int32(ackTimeoutMs)
  array(groupByTopic(batches), ([topic, list]) => {
    string(topic)
    array(list, ({ partition, framed, baseSequence }) => {
      writer.int32(partition)
      if (api.flexible) writer.unsignedVarint(framed.bytes.length + 1)
      else writer.int32(framed.bytes.length)
      writeRecordBatch(writer, framed, { ...identity, baseSequence, transactional: transactionalId !== null })
      endTags()
    })
    endTags()
  })
  endTags()
  return { api, bytes: writer.bytes(), parkedMs: ackTimeoutMs, decode: (body) => readOutcomes(body, api) }
}

/** Unlike other responses, its throttle time comes last. */
function readOutcomes(body: Buffer, { flexible }: Api): { throttleMs: number; answer: BatchOutcome[] } {
  const reader = createByteReader(body)
  const array = flexible ? reader.compactArray : reader.array
  const endTags = flexible ? reader.skipTags : () => undefined
  const answer: BatchOutcome[] = []
  endTags() // of the header
  array(() => {
    const topic = flexible ? (reader.compactString() ?? '') : reader.text()
    array(() => {
      answer.push({ topic, partition: reader.int32(), error: kafkaError(reader.int16()) })
      for (let times = 0; times < 3; times++) reader.int64() // base offset, append time, log start
      if (flexible) skipRefused(reader)
      endTags()
    })
    endTags()
  })
  return { throttleMs: reader.int32(), answer }
}

/** The records that were refused, each with why, and why in all. */
function skipRefused(reader: ByteReader): void {
  reader.compactArray(() => {
    reader.int32()
    reader.compactString()
    reader.skipTags()
  })
  reader.compactString()
}
