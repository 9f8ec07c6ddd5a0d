/**
 * Topics as arrays of record batches, with the broker contract over them: what is fetched and sent is decoded and encoded as for Kafka, and
 * nothing else costs anything. Opened by `in-process-run.ts`.
 */
import type { Broker, FetchedPartition, FetchFrom, Membership, Task, Worker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { type FramedRecords, frameRecords, isFramed, type Outgoing } from '../../runtime/framed-records.ts'
import { createByteWriter, writeInt64 } from '../../runtime/kafka/byte-writer.ts'
import { decodeRecordSet } from '../../runtime/kafka/record-batch-decoder.ts'
import { writeRecordBatch } from '../../runtime/kafka/record-batch-encoder.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { noRecords } from '../../runtime/records.ts'

interface Batch {
  /** Offset behind its last record. */
  readonly end: number
  readonly bytes: Buffer
}

interface PartitionLog {
  readonly batches: Batch[]
  end: number
}

export interface BatchLog {
  readonly broker: Broker
  append(framed: FramedRecords): void
  end(topic: string, partition: number): number
  /**
   * Fetches one after the other that found nothing, since anything was written. The batch loop begins at most one before the batch that it
   * is in: after a few of them it is in none.
   */
  emptyFetches(): number
}

export interface BatchLogOptions {
  readonly topics: readonly string[]
  readonly partitions: number
  /** Of the one worker. */
  readonly tasks: readonly Task[]
  /** Topics that are read again; what is sent to others is encoded and dropped. */
  readonly kept: ReadonlySet<string>
  readonly clock: Clock
}

const identity = { producerId: 1, producerEpoch: 0, baseSequence: 0, transactional: true }
/** A fetch that finds nothing looks again after this long. */
const lookAgainMs = 2

export function createBatchLog(options: BatchLogOptions): BatchLog {
  const { topics, partitions, kept, clock } = options
  const empty = (): PartitionLog => ({ batches: [], end: 0 })
  const logs = new Map(topics.map((topic) => [topic, Array.from({ length: partitions }, empty)]))
  const logOf = (topic: string, partition: number) => logs.get(topic)![partition]!
  let emptyFetches = 0

  function append(framed: FramedRecords): void {
    const { topic, partition, count, bytes } = framed
    emptyFetches = 0
    const log = logOf(topic, partition)
    const writer = createByteWriter(bytes.length)
    writeRecordBatch(writer, framed, { ...identity, timestampMs: clock.nowMs() })
    writeInt64(writer.bytes(), log.end, 0)
    log.end += count
    if (kept.has(topic)) log.batches.push({ end: log.end, bytes: writer.bytes() })
  }

  function send(outgoing: readonly Outgoing[]): void {
    for (const one of outgoing) append(isFramed(one) ? one : frameRecords([one]))
  }

  async function fetch(from: readonly FetchFrom[], maxWaitMs: number, bytesMax: number): Promise<FetchedPartition[]> {
    await clock.turn()
    const isEmpty = () => from.every(({ topic, partition, offset }) => logOf(topic, partition).end <= offset)
    if (maxWaitMs > 0 && isEmpty()) await clock.sleep(Math.min(maxWaitMs, lookAgainMs))
    emptyFetches = isEmpty() ? emptyFetches + 1 : 0
    return from.map((wanted) => fetchedFrom(logOf(wanted.topic, wanted.partition), wanted, bytesMax))
  }

  const worker: Worker = {
    owner: '1:0',
    join: async (): Promise<Membership> => ({ generation: 1, memberId: 'one', tasks: options.tasks }),
    isCurrent: () => true,
    committed: async (list) => list.map((at) => ({ ...at, offset: null, metadata: '' })),
    async transact(outgoing) {
      send(outgoing)
      await clock.turn()
    },
    publish: async (outgoing) => send(outgoing),
    commitOffsets: async () => undefined,
    leave: async () => undefined,
    close: async () => undefined,
  }
  const memory = createMemoryBroker({ clock })
  const data: Broker['data'] = {
    ...memory.data,
    partitionCounts: async (list) => new Map(list.map((topic) => [topic, logs.has(topic) ? partitions : null])),
    bounds: async (list) => list.map((at) => ({ ...at, start: 0, end: logOf(at.topic, at.partition).end })),
    fetcher: async () => ({
      fetch: (from, { maxWaitMs, partitionBytesMax }) => fetch(from, maxWaitMs, partitionBytesMax),
      close: async () => undefined,
    }),
  }
  return {
    broker: { ...memory, data, groups: { ...memory.groups, worker: async () => worker } },
    append,
    end: (topic, partition) => logOf(topic, partition).end,
    emptyFetches: () => emptyFetches,
  }
}

/** Whole batches up to so many bytes, at least one: as a broker answers, in one buffer. */
function fetchedFrom({ batches, end }: PartitionLog, { topic, partition, offset }: FetchFrom, bytesMax: number) {
  const base = { topic, partition, from: offset, stableEnd: end, end, age: 0 }
  if (offset >= end) return { ...base, records: noRecords, next: offset }
  const first = firstBehind(batches, offset)
  let size = 0
  let last = first
  while (last < batches.length && (last === first || size + batches[last]!.bytes.length <= bytesMax)) {
    size += batches[last++]!.bytes.length
  }
  const answer = Buffer.allocUnsafeSlow(size)
  let at = 0
  for (let i = first; i < last; i++) at += batches[i]!.bytes.copy(answer, at)
  return { ...base, ...decodeRecordSet(answer, { topic, partition, offset }, []) }
}

/** Index of the first batch that ends behind the offset. */
function firstBehind(batches: readonly Batch[], offset: number): number {
  let [low, high] = [0, batches.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (batches[middle]!.end <= offset) low = middle + 1
    else high = middle
  }
  return low
}
