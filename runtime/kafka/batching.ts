/**
 * Records of many partitions become numbered batches of one partition each; called by the producer and by
 * transactions.
 */
import type { OutRecord, TopicPartition } from '../broker.ts'
import {
  batchBytesMax,
  batchHeaderBytes,
  frameRecords,
  isFramed,
  type Outgoing,
  recordBytesMax,
} from '../framed-records.ts'
import type { Batch } from './produce-request.ts'

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
export function toBatches(outgoing: readonly Outgoing[], sequences: Sequences): Batch[] {
  const batches: Batch[] = []
  const add = (batch: Omit<Batch, 'baseSequence'>) => {
    const key = partitionKey(batch.framed)
    const baseSequence = sequences.get(key) ?? 0
    batches.push({ ...batch, baseSequence })
    sequences.set(key, sequenceAfter(baseSequence, batch.framed.count))
  }
  for (const list of byPartition(outgoing)) {
    const { topic, partition } = list[0]!
    const at = { topic, partition }
    let single: OutRecord[] = []
    const flush = () => {
      for (const part of parts(single)) add({ ...at, framed: frameRecords(part), sent: part })
      single = []
    }
    for (const one of list) {
      if (isFramed(one)) {
        flush()
        add({ ...at, framed: one, sent: [one] })
      } else single.push(one)
    }
    flush()
  }
  return batches
}

/** As many of them at a time as a batch takes. */
function* parts(records: readonly OutRecord[]): Generator<readonly OutRecord[]> {
  let from = 0
  let bytes = batchHeaderBytes
  for (let at = 0; at < records.length; at++) {
    const size = recordBytesMax(records[at]!)
    if (at > from && bytes + size > batchBytesMax) {
      yield records.slice(from, at)
      from = at
      bytes = batchHeaderBytes
    }
    bytes += size
  }
  if (from < records.length) yield records.slice(from)
}

function byPartition(outgoing: readonly Outgoing[]): Outgoing[][] {
  const topics = new Map<string, Array<Outgoing[] | undefined>>()
  const lists: Outgoing[][] = []
  // Neighbours mostly share their topic: the map is read once per run.
  let topic: string | null = null
  let partitions: Array<Outgoing[] | undefined> = []
  for (const one of outgoing) {
    if (one.topic !== topic) {
      topic = one.topic
      partitions = topics.get(topic) ?? []
      topics.set(topic, partitions)
    }
    const list = partitions[one.partition]
    if (list !== undefined) list.push(one)
    else {
      const begun = [one]
      partitions[one.partition] = begun
      lists.push(begun)
    }
  }
  return lists
}
