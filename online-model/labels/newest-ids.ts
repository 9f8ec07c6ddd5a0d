/** Ids with event times in, a slot number for each of the newest out: what keeps the label join bounded. Pure. */
import assert from 'node:assert/strict'

/** A map of more than 2^24 entries cannot be built. */
const keptLimit = 2 ** 23

export interface NewestIds {
  /**
   * The slot for an id, below `keptMax`; null for an id that is there already and for one older than all that are kept.
   * When all slots are taken the oldest id loses its slot. What is kept depends on the set of ids and times, not on
   * their order; equal times are told apart by id.
   */
  place(id: string, time: number): number | null
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

export function createNewestIds(keptMax: number): NewestIds {
  assert(Number.isInteger(keptMax) && keptMax > 0 && keptMax <= keptLimit, `keptMax is ${keptMax}, limit ${keptLimit}`)
  const slots = new Map<string, number>()
  const ids: string[] = []
  let times = new Float64Array(Math.min(keptMax, 1024))
  let heap: Int32Array | null = null
  let duplicates = 0
  let dropped = 0

  const byTime = (a: number, b: number): number => times[a]! - times[b]! || (ids[a]! < ids[b]! ? -1 : 1)

  /** Lets the slot at a place of the heap sink until its children are newer. */
  const sink = (queue: Int32Array, from: number): void => {
    const slot = queue[from]!
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= queue.length) break
      if (child + 1 < queue.length && byTime(queue[child + 1]!, queue[child]!) < 0) child++
      if (byTime(slot, queue[child]!) <= 0) break
      queue[at] = queue[child]!
      at = child
    }
    queue[at] = slot
  }

  /** The oldest is on top. Most joins never fill up, so the heap is only built when the last slot is gone. */
  const build = (): Int32Array => {
    const queue = Int32Array.from({ length: keptMax }, (_, slot) => slot)
    for (let at = (keptMax >> 1) - 1; at >= 0; at--) sink(queue, at)
    return queue
  }

  const append = (id: string, time: number): number => {
    const slot = ids.length
    if (slot === times.length) {
      const wider = new Float64Array(Math.min(keptMax, times.length * 2))
      wider.set(times)
      times = wider
    }
    ids.push(id)
    times[slot] = time
    return slot
  }

  const replaceOldest = (id: string, time: number): number | null => {
    heap ??= build()
    dropped++
    const slot = heap[0]!
    if (time < times[slot]! || (time === times[slot] && id < ids[slot]!)) return null
    slots.delete(ids[slot]!)
    ids[slot] = id
    times[slot] = time
    sink(heap, 0)
    return slot
  }

  return {
    place: (id, time) => {
      if (!Number.isFinite(time)) assert.fail(`time of ${id} is ${time}`)
      if (slots.has(id)) {
        duplicates++
        return null
      }
      const slot = ids.length < keptMax ? append(id, time) : replaceOldest(id, time)
      if (slot !== null) slots.set(id, slot)
      return slot
    },
    slotOf: (id) => slots.get(id),
    timeOf: (slot) => times[slot]!,
    size: () => ids.length,
    slotsByTime: () => Int32Array.from(ids, (_, slot) => slot).sort(byTime),
    duplicates: () => duplicates,
    dropped: () => dropped,
  }
}
