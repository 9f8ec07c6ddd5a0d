/**
 * Which partition a key belongs to: the key's bytes come in, the partition that Java's default partitioner chooses
 * goes out.
 */
import assert from 'node:assert/strict'

const seed = 0x9747b28c
const multiplier = 0x5bd1e995

/** MurmurHash2 of the bytes in [start, end) as Kafka's Java client computes it, a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array, start = 0, end = bytes.length): number {
  const length = end - start
  const tail = start + (length & ~3)
  let hash = seed ^ length
  for (let at = start; at < tail; at += 4) {
    let block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    block = Math.imul(block, multiplier)
    block ^= block >>> 24
    hash = Math.imul(hash, multiplier) ^ Math.imul(block, multiplier)
  }
  const left = length & 3
  if (left === 3) hash ^= bytes[tail + 2]! << 16
  if (left >= 2) hash ^= bytes[tail + 1]! << 8
  if (left >= 1) hash = Math.imul(hash ^ bytes[tail]!, multiplier)
  hash = Math.imul(hash ^ (hash >>> 13), multiplier)
  return hash ^ (hash >>> 15)
}

/** Partition of a key, 0 to `partitions - 1`, equal to Java's `toPositive(murmur2(key)) % partitions`. */
export function partitionOf(key: Uint8Array, partitions: number): number {
  return partitionOfHash(murmur2(key), partitions)
}

/** `hash`: of the key, by `murmur2`. */
export function partitionOfHash(hash: number, partitions: number): number {
  assert(Number.isInteger(partitions) && partitions > 0, 'a topic has at least one partition')
  return (hash & 0x7fffffff) % partitions
}
