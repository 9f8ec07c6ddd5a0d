/**
 * The Fetch request at read_committed, without fetch sessions: partitions of one leader come in, their records go
 * out.
 */
import type { FetchFrom, TopicPartition } from '../broker.ts'
import { noRecords, type Records } from '../records.ts'
import { createByteReader } from './byte-reader.ts'
import { createByteWriter } from './byte-writer.ts'
import { type KafkaError, kafkaError } from './error-codes.ts'
import { type AbortedTransaction, decodeRecordSet } from './record-batch-decoder.ts'
import { apis, groupByTopic, type KafkaRequest } from './request.ts'

export interface FetchLimits {
  readonly maxWaitMs: number
  readonly partitionBytesMax: number
}

export interface PartitionFetched extends TopicPartition {
  readonly error: KafkaError
  readonly from: number
  readonly records: Records
  readonly next: number
  readonly stableEnd: number
  /** High watermark. */
  readonly end: number
}

/** All partitions of an answer together, bytes; a larger first batch is still answered whole. */
const answerBytesMax = 64 * 1024 * 1024

interface Header extends TopicPartition {
  readonly error: KafkaError
  readonly end: number
  readonly stableEnd: number
  readonly aborted: readonly AbortedTransaction[]
  readonly bytes: Buffer
}

/**
 * Answered as soon as any of the partitions has something. The first in the list is served first where bytes are
 * short.
 */
export function fetchRequest(from: readonly FetchFrom[], limits: FetchLimits): KafkaRequest<PartitionFetched[]> {
  const { maxWaitMs, partitionBytesMax } = limits
  const writer = createByteWriter(128 + 64 * from.length)
  writer.int32(-1) // a consumer, not a replica
  writer.int32(maxWaitMs)
  writer.int32(1) // bytes to wait for
  writer.int32(Math.min(answerBytesMax, partitionBytesMax * from.length))
  writer.int8(1) // read_committed
  writer.int32(0) // no session
  writer.int32(-1)
  writer.array(groupByTopic(from), ([topic, list]) => {
    writer.string(topic)
    writer.array(list, ({ partition, offset }) => {
      writer.int32(partition)
      writer.int32(-1) // leader epoch: unchecked
      writer.int64(offset)
      writer.int64(-1)
      writer.int32(partitionBytesMax)
    })
  })
  writer.array([], () => undefined) // nothing forgotten from a session
  writer.string('') // rack
  return { api: apis.fetch, bytes: writer.bytes(), parkedMs: maxWaitMs, decode: (body) => readAnswer(body, from) }
}

function readAnswer(body: Buffer, from: readonly FetchFrom[]) {
  const reader = createByteReader(body)
  const throttleMs = reader.int32()
  const failure = kafkaError(reader.int16())
  reader.int32() // session
  const headers: Header[] = []
  reader.array(() => {
    const topic = reader.text()
    reader.array(() => {
      const partition = reader.int32()
      const error = kafkaError(reader.int16())
      const end = reader.int64()
      const stableEnd = reader.int64()
      reader.int64() // log start
      const aborted = reader.array(() => ({ producerId: reader.int64(), firstOffset: reader.int64() }))
      reader.int32() // preferred replica
      headers.push({ topic, partition, error, end, stableEnd, aborted, bytes: reader.byteString() ?? Buffer.alloc(0) })
    })
  })
  const answer: PartitionFetched[] = []
  for (const { topic, partition, offset } of from) {
    const header = headers.find((found) => found.partition === partition && found.topic === topic)
    if (header === undefined || header.error !== 'NONE') {
      const error = header?.error ?? (failure === 'NONE' ? 'UNKNOWN_SERVER_ERROR' : failure)
      answer.push({ topic, partition, error, from: offset, records: noRecords, next: offset, stableEnd: -1, end: -1 })
      continue
    }
    const { bytes, aborted, stableEnd, end } = header
    const { records, next } = decodeRecordSet(bytes, { topic, partition, offset }, aborted)
    answer.push({ topic, partition, error: 'NONE', from: offset, records, next, stableEnd, end })
  }
  return { throttleMs, answer }
}
