import { describe, expect, test } from 'vitest'
import { murmur2, partitionOf } from '../../runtime/partition.ts'

/** Hash and partition of 12 as org.apache.kafka.common.utils.Utils of Kafka 4.1 gives them. */
const fromJava: ReadonlyArray<[key: string, hash: number, partitionOf12: number]> = [
  ['', 275646681, 9],
  ['a', -1563381124, 4],
  ['ab', 316155434, 2],
  ['abc', 479470107, 3],
  ['21', -973932308, 0],
  ['foobar', -790332482, 6],
  ['a-little-bit-long-string', -985981536, 8],
  ['a-little-bit-longer-string', -1486304829, 11],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971, 5],
  ['Straße-ž-日本語-🙂', 829894216, 4],
  ['4242', 1503112860, 0],
  ['customer-1', 1939597761, 9],
]

describe('partition of a key', () => {
  test.each(fromJava)('"%s" hashes as in Java', (key, hash, partition) => {
    expect(murmur2(Buffer.from(key))).toBe(hash)
    expect(partitionOf(Buffer.from(key), 12)).toBe(partition)
  })

  test('bytes that are no text hash as in Java', () => {
    expect(murmur2(Buffer.from([0xff, 0x80, 0x7f, 0, 0xfe, 0xc3, 0x81]))).toBe(-346718391)
  })

  test('a topic without partitions is a mistake', () => {
    expect(() => partitionOf(Buffer.from('a'), 0)).toThrow('a topic has at least one partition')
  })
})
