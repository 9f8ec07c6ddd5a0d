/**
 * Connections whose brokers answer what a test defines: real request bytes go in, real response bytes come out, no
 * network between.
 */
import type { TopicPartition } from '../../../runtime/broker.ts'
import { frameRecords } from '../../../runtime/framed-records.ts'
import { createByteReader } from '../../../runtime/kafka/byte-reader.ts'
import { createByteWriter } from '../../../runtime/kafka/byte-writer.ts'
import type { Connections } from '../../../runtime/kafka/connections.ts'
import { type KafkaError, kafkaError } from '../../../runtime/kafka/error-codes.ts'
import { writeRecordBatch } from '../../../runtime/kafka/record-batch-encoder.ts'
import type { KafkaRequest } from '../../../runtime/kafka/request.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'

const codes = new Map(Array.from({ length: 134 }, (_, code) => [kafkaError(code), code]))

export interface Script {
  /** Node that leads a partition; changed by a test when leadership moves. */
  readonly leaders: Map<number, number>
  /** Response body of a request to a node. */
  answer(nodeId: number, api: string, body: Buffer): Promise<Buffer> | Buffer
  /** Number of leader lookups. */
  lookups: number
}

/** One topic, `t`; its partitions' leaders are learnt at the first lookup, as from a real cluster. */
export function scriptedConnections(script: Script, retryBudgetMs = 60): Connections {
  let known = new Map<number, number>()
  const send = async <T>(nodeId: number, request: KafkaRequest<T>): Promise<T> => {
    const body = await script.answer(nodeId, request.api.name, request.bytes)
    return (await request.decode(body)).answer
  }
  const unused = () => Promise.reject(new Error('not scripted'))
  return {
    retryBudgetMs,
    send,
    sendIfSupported: send,
    sendToAny: (request) => send(0, request),
    metadata: unused,
    leaderOf: ({ partition }) => known.get(partition),
    async findLeaders() {
      script.lookups++
      known = new Map(script.leaders)
    },
    coordinator: unused,
    forgetCoordinator: () => undefined,
    isClosed: () => false,
    close: async () => undefined,
  }
}

export function silence(): PipelineError {
  return new PipelineError('kafka_unreachable', 'no answer')
}

export interface Produced extends TopicPartition {
  readonly producerId: number
  readonly baseSequence: number
  readonly count: number
}

/** The batches of a Produce request. */
export function readProduce(body: Buffer): Produced[] {
  const reader = createByteReader(body)
  reader.string()
  reader.int16()
  reader.int32()
  return reader
    .array(() => {
      const topic = reader.text()
      return reader.array(() => {
        const partition = reader.int32()
        const batch = reader.byteString()!
        const producerId = Number(batch.readBigInt64BE(43))
        return { topic, partition, producerId, baseSequence: batch.readInt32BE(53), count: batch.readInt32BE(57) }
      })
    })
    .flat()
}

export function produceAnswer(outcomes: ReadonlyArray<{ partition: number; error?: KafkaError }>): Buffer {
  const writer = createByteWriter()
  writer.array([outcomes], (list) => {
    writer.string('t')
    writer.array(list, ({ partition, error = 'NONE' }) => {
      writer.int32(partition)
      writer.int16(codes.get(error)!)
      for (let times = 0; times < 3; times++) writer.int64(0)
    })
  })
  writer.int32(0)
  return writer.bytes()
}

export function producerIdAnswer(id: number): Buffer {
  const writer = createByteWriter()
  writer.int32(0)
  writer.int16(0)
  writer.int64(id)
  writer.int16(0)
  return writer.bytes()
}

/** What a Fetch request contains: its longest wait and each partition's offset. */
export function readFetch(body: Buffer): { maxWaitMs: number; asked: Array<{ partition: number; offset: number }> } {
  const reader = createByteReader(body)
  reader.int32()
  const maxWaitMs = reader.int32()
  for (let times = 0; times < 2; times++) reader.int32()
  reader.int8()
  for (let times = 0; times < 2; times++) reader.int32()
  const asked = reader.array(() => {
    reader.text()
    return reader.array(() => {
      const partition = reader.int32()
      reader.int32()
      const offset = reader.int64()
      reader.int64()
      reader.int32()
      return { partition, offset }
    })
  })
  return { maxWaitMs, asked: asked.flat() }
}

export interface AnsweredPartition {
  readonly partition: number
  readonly offset: number
  readonly values?: readonly string[]
  readonly stableEnd?: number
  readonly error?: KafkaError
}

/** Without values: nothing new, at the end. */
export function fetchAnswer(partitions: readonly AnsweredPartition[]): Buffer {
  const writer = createByteWriter()
  writer.int32(0)
  writer.int16(0)
  writer.int32(0)
  writer.array([partitions], (list) => {
    writer.string('t')
    writer.array(list, ({ partition, offset, values = [], error = 'NONE', stableEnd = offset + values.length }) => {
      writer.int32(partition)
      writer.int16(codes.get(error)!)
      for (const bound of [stableEnd, stableEnd, 0]) writer.int64(bound)
      writer.array([], () => undefined)
      writer.int32(-1)
      writer.byteString(recordSet(offset, values))
    })
  })
  return writer.bytes()
}

function recordSet(offset: number, values: readonly string[]): Buffer {
  if (values.length === 0) return Buffer.alloc(0)
  const writer = createByteWriter()
  const records = values.map((value) => ({ topic: 't', partition: 0, key: null, value: Buffer.from(value) }))
  writeRecordBatch(writer, frameRecords(records), {
    producerId: -1,
    producerEpoch: -1,
    baseSequence: -1,
    transactional: false,
    timestampMs: 0,
  })
  const bytes = writer.bytes()
  bytes.writeBigInt64BE(BigInt(offset), 0)
  return bytes
}

export function listOffsetsAnswer(partition: number, offset: number): Buffer {
  const writer = createByteWriter()
  writer.int32(0)
  writer.array([0], () => {
    writer.string('t')
    writer.array([0], () => {
      writer.int32(partition)
      writer.int16(0)
      writer.int64(-1)
      writer.int64(offset)
    })
  })
  return writer.bytes()
}
