/**
 * Records of many partitions become numbered batches of one partition each; called by the producer and by
 * transactions.
 */
import type { OutRecord, TopicPartition } from '../broker.ts'
import type { Batch } from './produce-request.ts'
import { batchOverheadBytes, recordBytesMax } from './record-batch-encoder.ts'

/** A batch of several records stays below this; brokers take 1,048,588 bytes a batch by default. */
export const batchBytesMax = 1_000_000

/**
 * Sequence number that the next record of a partition gets, by `partitionKey`; a partition not yet written to starts
 * at 0.
 */
export type Sequences = Map<string, number>

export function partitionKey({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`
}

/** Sequence numbers are 31 bits and wrap around to 0. */
export function sequenceAfter(sequence: number, count: number): number {
  return (sequence + count) % 2 ** 31
}

/**
 * Batches in the order of their records, partition by partition; `sequences` moves past all of them. A record that is
 * alone larger than a batch may be travels alone: the broker decides.
 */
export function toBatches(records: readonly OutRecord[], sequences: Sequences): Batch[] {
  const batches: Batch[] = []
  for (const list of byPartition(records)) {
    const { topic, partition } = list[0]!
    const key = partitionKey(list[0]!)
    let from = 0
    let bytesMax = batchOverheadBytes
    for (let at = 0; at <= list.length; at++) {
      const size = at < list.length ? recordBytesMax(list[at]!) : Number.POSITIVE_INFINITY
      if (at > from && bytesMax + size > batchBytesMax) {
        const baseSequence = sequences.get(key) ?? 0
        const part = from === 0 && at === list.length ? list : list.slice(from, at)
        batches.push({ topic, partition, records: part, baseSequence, bytesMax })
        sequences.set(key, sequenceAfter(baseSequence, part.length))
        from = at
        bytesMax = batchOverheadBytes
      }
      bytesMax += size
    }
  }
  return batches
}

function byPartition(records: readonly OutRecord[]): OutRecord[][] {
  const topics = new Map<string, Array<OutRecord[] | undefined>>()
  const lists: OutRecord[][] = []
  // Neighbours mostly share their topic: the map is read once per run.
  let topic: string | null = null
  let partitions: Array<OutRecord[] | undefined> = []
  for (const record of records) {
    if (record.topic !== topic) {
      topic = record.topic
      partitions = topics.get(topic) ?? []
      topics.set(topic, partitions)
    }
    const list = partitions[record.partition]
    if (list !== undefined) list.push(record)
    else {
      const begun = [record]
      partitions[record.partition] = begun
      lists.push(begun)
    }
  }
  return lists
}
