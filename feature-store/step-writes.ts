/**
 * What a step writes, packed: filled log by log (`stored-log.ts`), read by both stores. One of these is used again and again, so that a
 * step costs no object an entity; the bytes in it are copies, which later folds do not change.
 */
import { capacityAfter } from '../runtime/kept-bytes.ts'

/** Letters of the apply script. `append` and `seal` concern a tail whose length is known, `set` and `delete` any key. */
export const writeKind = { append: 97, set: 115, seal: 99, delete: 100 } as const

/** In `chunks`: the write concerns the log's tail. */
export const tail = -1

/** Chunks that one step deletes; those left over are deleted by later ones. */
const dropsMax = 500
const firstBytes = 16_384
/** More than a step of ordinary size takes: 2,000 entities with a few rows each. */
const keptBytes = 1_048_576

export interface StepWrites {
  count: number
  /** Logs that are written, each at least once. */
  logs: number
  /** Entity of each write. */
  readonly keys: string[]
  readonly kinds: number[]
  /** Number of the chunk that is set, deleted, or made of the tail by `seal`; `tail` for a write to the tail itself. */
  readonly chunks: number[]
  /** Bytes that the tail has after an `append`, or before a `seal`; 0 for others. */
  readonly lengths: number[]
  /** End in `bytes` of the bytes of each write; they begin where those of the write before end. */
  readonly ends: number[]
  /** 1 where a tail or chunk is stored after the write that was not before, −1 where one is not any more. */
  readonly added: number[]
  bytes: Buffer
  /** Sum of `added`. */
  keysAdded: number
  /** Chunks that may still be deleted with this step. */
  dropsLeft: number
}

export function createStepWrites(): StepWrites {
  return {
    count: 0,
    logs: 0,
    keys: [],
    kinds: [],
    chunks: [],
    lengths: [],
    ends: [],
    added: [],
    bytes: Buffer.allocUnsafe(firstBytes),
    keysAdded: 0,
    dropsLeft: dropsMax,
  }
}

export function emptyWrites(writes: StepWrites): void {
  const { length } = writes.bytes
  const capacity = capacityAfter(length, startOfWrite(writes, writes.count), keptBytes)
  if (capacity < length) writes.bytes = Buffer.allocUnsafe(capacity)
  writes.count = 0
  writes.logs = 0
  writes.keysAdded = 0
  writes.dropsLeft = dropsMax
}

export function startOfWrite(writes: StepWrites, index: number): number {
  return index === 0 ? 0 : writes.ends[index - 1]!
}

/** Returns where in `bytes` the caller puts the `size` bytes of the write. */
export function addWrite(
  writes: StepWrites,
  key: string,
  kind: number,
  chunk: number,
  length: number,
  size: number,
  added: number,
): number {
  const { count } = writes
  const from = startOfWrite(writes, count)
  if (from + size > writes.bytes.length) grow(writes, from, from + size)
  writes.keys[count] = key
  writes.kinds[count] = kind
  writes.chunks[count] = chunk
  writes.lengths[count] = length
  writes.ends[count] = from + size
  writes.added[count] = added
  writes.keysAdded += added
  writes.count = count + 1
  return from
}

function grow(writes: StepWrites, used: number, needed: number): void {
  const grown = Buffer.allocUnsafe(Math.max(needed, writes.bytes.length * 2))
  writes.bytes.copy(grown, 0, 0, used)
  writes.bytes = grown
}
