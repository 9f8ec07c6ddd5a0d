/**
 * Keys as bytes in, the same text for the same bytes out, with the partition that it belongs to: a key is made a text, and hashed for its
 * partition, once and not with every event. A task has one; it is only used by `read-event.ts`.
 */
import { murmur2, partitionOfHash } from '../../runtime/partition.ts'

export interface KeyTable {
  /** Number of the key in [start, end), for `texts` and `partitions` until the next call. */
  find(bytes: Uint8Array, start: number, end: number): number
  readonly texts: readonly string[]
  readonly partitions: readonly number[]
}

/** A table with so many keys begins anew: what is made again costs less than what is kept for ever. */
const keysMax = 1 << 18
const firstSlots = 1 << 10

interface KeyTableState {
  readonly partitionCount: number
  readonly texts: string[]
  readonly partitions: number[]
  /** Of each key: where its bytes begin in `kept`; the next key's begin where they end. */
  starts: number[]
  kept: Uint8Array
  keptBytes: number
  /** Hash and number + 1 of a key, by its hash; 0 for an empty slot. Twice as many as keys at least. */
  slots: Int32Array
  /** The lookup before this one: a key is mostly looked up twice, where it is checked and where it is used. */
  lastBytes: Uint8Array | null
  lastStart: number
  lastEnd: number
  lastKey: number
}

/** `partitionCount`: of the topics whose keys are looked up. */
export function createKeyTable(partitionCount: number): KeyTable {
  const state: KeyTableState = {
    partitionCount,
    texts: [],
    partitions: [],
    starts: [0],
    kept: new Uint8Array(firstSlots * 8),
    keptBytes: 0,
    slots: new Int32Array(2 * firstSlots),
    lastBytes: null,
    lastStart: -1,
    lastEnd: -1,
    lastKey: -1,
  }
  return {
    texts: state.texts,
    partitions: state.partitions,
    find(bytes, start, end) {
      if (start !== state.lastStart || end !== state.lastEnd || bytes !== state.lastBytes) {
        state.lastKey = find(state, bytes, start, end)
        state.lastBytes = bytes
        state.lastStart = start
        state.lastEnd = end
      }
      return state.lastKey
    },
  }
}

function find(state: KeyTableState, bytes: Uint8Array, start: number, end: number): number {
  const hash = murmur2(bytes, start, end)
  const { slots } = state
  const mask = slots.length / 2 - 1
  for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
    const key = slots[2 * slot + 1]! - 1
    if (key < 0) return add(state, bytes, start, end, hash)
    if (slots[2 * slot] === hash && isKept(state, key, bytes, start, end)) return key
  }
}

function isKept({ starts, kept }: KeyTableState, key: number, bytes: Uint8Array, start: number, end: number): boolean {
  const from = starts[key]!
  const length = end - start
  if (starts[key + 1]! - from !== length) return false
  for (let i = 0; i < length; i++) if (kept[from + i] !== bytes[start + i]) return false
  return true
}

function add(state: KeyTableState, bytes: Uint8Array, start: number, end: number, hash: number): number {
  if (state.texts.length >= keysMax) clear(state)
  const { texts, partitions, starts } = state
  const key = texts.length
  const length = end - start
  if (state.keptBytes + length > state.kept.length) {
    const grown = new Uint8Array(2 * state.kept.length + length)
    grown.set(state.kept.subarray(0, state.keptBytes))
    state.kept = grown
  }
  state.kept.set(bytes.subarray(start, end), state.keptBytes)
  state.keptBytes += length
  starts.push(state.keptBytes)
  texts.push(Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString())
  partitions.push(partitionOfHash(hash, state.partitionCount))
  if (4 * texts.length > state.slots.length) widen(state)
  putSlot(state.slots, hash, key)
  return key
}

function clear(state: KeyTableState): void {
  state.texts.length = 0
  state.partitions.length = 0
  state.starts = [0]
  state.keptBytes = 0
  state.slots.fill(0)
}

function widen(state: KeyTableState): void {
  const old = state.slots
  state.slots = new Int32Array(2 * old.length)
  for (let at = 0; at < old.length; at += 2) if (old[at + 1] !== 0) putSlot(state.slots, old[at]!, old[at + 1]! - 1)
}

function putSlot(slots: Int32Array, hash: number, key: number): void {
  const mask = slots.length / 2 - 1
  let slot = hash & mask
  while (slots[2 * slot + 1] !== 0) slot = (slot + 1) & mask
  slots[2 * slot] = hash
  slots[2 * slot + 1] = key + 1
}
