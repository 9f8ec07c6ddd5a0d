/**
 * The Produce request: at most one batch of each partition of one leader comes in, each partition's outcome goes out.
 */
import type { TopicPartition } from '../broker.ts'
import type { FramedRecords, Outgoing } from '../framed-records.ts'
import { createByteReader } from './byte-reader.ts'
import { createByteWriter } from './byte-writer.ts'
import { type KafkaError, kafkaError } from './error-codes.ts'
import { type BatchIdentity, writeRecordBatch } from './record-batch-encoder.ts'
import { apis, groupByTopic, type KafkaRequest } from './request.ts'

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
  /** Null outside transactions. */
  readonly transactionalId: string | null
  readonly identity: Omit<BatchIdentity, 'baseSequence' | 'transactional'>
  /** How long the leader may wait for its followers, ms. */
  readonly ackTimeoutMs: number
}

const allInSync = -1

export function produceRequest(batches: readonly Batch[], options: ProduceOptions): KafkaRequest<BatchOutcome[]> {
  const { transactionalId, identity, ackTimeoutMs } = options
  const writer = createByteWriter(batches.reduce((sum, { framed }) => sum + framed.bytes.length, 256))
  writer.string(transactionalId)
  writer.int16(allInSync)
  writer.int32(ackTimeoutMs)
  writer.array(groupByTopic(batches), ([topic, list]) => {
    writer.string(topic)
    writer.array(list, (batch) => {
      writer.int32(batch.partition)
      const lengthAt = writer.length()
      writer.int32(0)
      writeRecordBatch(writer, batch.framed, {
        ...identity,
        baseSequence: batch.baseSequence,
        transactional: transactionalId !== null,
      })
      writer.bytes().writeInt32BE(writer.length() - lengthAt - 4, lengthAt)
    })
  })
  return { api: apis.produce, bytes: writer.bytes(), parkedMs: ackTimeoutMs, decode: readOutcomes }
}

/** Unlike other responses, its throttle time comes last. */
function readOutcomes(body: Buffer): { throttleMs: number; answer: BatchOutcome[] } {
  const reader = createByteReader(body)
  const answer: BatchOutcome[] = []
  reader.array(() => {
    const topic = reader.text()
    reader.array(() => {
      answer.push({ topic, partition: reader.int32(), error: kafkaError(reader.int16()) })
      for (let times = 0; times < 3; times++) reader.int64() // base offset, append time, log start
    })
  })
  return { throttleMs: reader.int32(), answer }
}
