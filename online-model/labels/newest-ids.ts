/** Ids with event times in, a slot number for each of the newest out: what keeps the label join bounded. Pure. */
import assert from 'node:assert/strict'

/** A map of more than 2^24 entries cannot be built. */
const keptLimit = 2 ** 23

export interface NewestIds {
  /**
   * The slot for an id, below `keptMax`; null for an id that is kept already and for one older than all that are kept.
   * When all slots are taken the oldest id loses its slot. What is kept depends on the set of ids and times, not on
   * their order; equal times are ordered by id.
   */
  add(id: string, time: number): number | null
  slotOf(id: string): number | undefined
  timeOf(slot: number): number
  size(): number
  /** All slots taken, by (time, id). */
  slotsByTime(): Int32Array
  /** Ids offered again while kept. */
  duplicates(): number
  /** Ids that lost their slot or got none. */
  dropped(): number
}

interface NewestIdsState {
  readonly keptMax: number
  readonly slots: Map<string, number>
  /** By slot. */
  readonly ids: string[]
  times: Float64Array
  /** Slots, the oldest on top; null until the last slot is taken, which most joins never reach. */
  heap: Int32Array | null
  duplicates: number
  dropped: number
}

export function createNewestIds(keptMax: number): NewestIds {
  assert(Number.isInteger(keptMax) && keptMax > 0 && keptMax <= keptLimit, `keptMax is ${keptMax}, limit ${keptLimit}`)
  const state: NewestIdsState = {
    keptMax,
    slots: new Map(),
    ids: [],
    times: new Float64Array(Math.min(keptMax, 1024)),
    heap: null,
    duplicates: 0,
    dropped: 0,
  }
  return {
    add: (id, time) => add(state, id, time),
    slotOf: (id) => state.slots.get(id),
    timeOf: (slot) => state.times[slot]!,
    size: () => state.ids.length,
    slotsByTime: () => Int32Array.from(state.ids, (_, slot) => slot).sort((a, b) => byTime(state, a, b)),
    duplicates: () => state.duplicates,
    dropped: () => state.dropped,
  }
}

function add(state: NewestIdsState, id: string, time: number): number | null {
  if (!Number.isFinite(time)) assert.fail(`time of ${id} is ${time}`)
  if (state.slots.has(id)) {
    state.duplicates++
    return null
  }
  const slot = state.ids.length < state.keptMax ? append(state, id, time) : replaceOldest(state, id, time)
  if (slot !== null) state.slots.set(id, slot)
  return slot
}

function append(state: NewestIdsState, id: string, time: number): number {
  const slot = state.ids.length
  if (slot === state.times.length) {
    const wider = new Float64Array(Math.min(state.keptMax, state.times.length * 2))
    wider.set(state.times)
    state.times = wider
  }
  state.ids.push(id)
  state.times[slot] = time
  return slot
}

function replaceOldest(state: NewestIdsState, id: string, time: number): number | null {
  const { slots, ids, times } = state
  state.heap ??= buildHeap(state)
  state.dropped++
  const slot = state.heap[0]!
  if (time < times[slot]! || (time === times[slot] && id < ids[slot]!)) return null
  slots.delete(ids[slot]!)
  ids[slot] = id
  times[slot] = time
  sink(state, state.heap, 0)
  return slot
}

function buildHeap(state: NewestIdsState): Int32Array {
  const heap = Int32Array.from({ length: state.keptMax }, (_, slot) => slot)
  for (let at = (state.keptMax >> 1) - 1; at >= 0; at--) sink(state, heap, at)
  return heap
}

/** Moves the slot at index `from` down until its children are newer. */
function sink(state: NewestIdsState, heap: Int32Array, from: number): void {
  const slot = heap[from]!
  let at = from
  for (;;) {
    let child = 2 * at + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && byTime(state, heap[child + 1]!, heap[child]!) < 0) child++
    if (byTime(state, slot, heap[child]!) <= 0) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = slot
}

function byTime({ times, ids }: NewestIdsState, a: number, b: number): number {
  return times[a]! - times[b]! || (ids[a]! < ids[b]! ? -1 : 1)
}
