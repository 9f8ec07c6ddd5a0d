import { describe, expect, test } from 'vitest'
import type { OutRecord } from '../../../runtime/broker.ts'
import { batchBytesMax, frameRecords, unframed } from '../../../runtime/framed-records.ts'
import { sequenceAfter, toBatches } from '../../../runtime/kafka/batching.ts'

function record(topic: string, partition: number, bytes = 1): OutRecord {
  return { topic, partition, key: null, value: Buffer.alloc(bytes) }
}

describe('toBatches', () => {
  test('makes one batch of each partition and counts its sequence numbers on', () => {
    const sequences = new Map([['a 0', 5]])
    const records = [record('a', 0), record('b', 0), record('a', 1), record('a', 0), record('b', 0), record('a', 0)]
    const batches = toBatches(records, sequences)
    expect(
      batches.map(({ topic, partition, baseSequence, framed }) => [topic, partition, baseSequence, framed.count]),
    ).toEqual([
      ['a', 0, 5, 3],
      ['b', 0, 0, 2],
      ['a', 1, 0, 1],
    ])
    expect(batches[0]!.sent).toEqual([records[0], records[3], records[5]])
    expect(sequences).toEqual(
      new Map([
        ['a 0', 8],
        ['b 0', 2],
        ['a 1', 1],
      ]),
    )
  })

  test('splits what is larger than a batch may be, in order', () => {
    const records = [600_000, 300_000, 300_000, 2_000_000, 10].map((bytes) => record('a', 0, bytes))
    const batches = toBatches(records, new Map())
    expect(batches.map(({ framed }) => unframed(framed).map(({ value }) => value!.length))).toEqual([
      [600_000, 300_000],
      [300_000],
      [2_000_000],
      [10],
    ])
    expect(batches.map(({ baseSequence }) => baseSequence)).toEqual([0, 2, 3, 4])
    for (const { framed } of batches)
      if (framed.count > 1) expect(framed.bytes.length).toBeLessThanOrEqual(batchBytesMax)
  })

  test('keeps what is encoded already as it is, in its place among single records', () => {
    const framed = frameRecords([record('a', 0), record('a', 0)])
    const batches = toBatches([record('a', 0), framed, record('a', 0)], new Map())
    expect(batches.map(({ baseSequence, framed: { count } }) => [baseSequence, count])).toEqual([
      [0, 1],
      [1, 2],
      [3, 1],
    ])
    expect(batches[1]!.framed).toBe(framed)
  })

  test('of nothing are none', () => {
    expect(toBatches([], new Map())).toEqual([])
  })

  test('wraps sequence numbers around', () => {
    expect(sequenceAfter(2 ** 31 - 2, 3)).toBe(1)
  })
})
