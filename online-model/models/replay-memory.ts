/**
 * What a learner remembers of one class: the newest labelled vectors, and draws from them that prefer what is scored worst. A draw says
 * how much it counts, so that the mean over draws is the mean over the memory. Called by the network learner.
 */
import type { StateArrays } from './learner-state.ts'
import type { Random } from './random.ts'

export interface ReplayMemory {
  /** Replaces the oldest once it is full. */
  keep(vector: ArrayLike<number>, weight: number, priority: number): void
  size(): number
  /**
   * Fills `slots` with slots of the memory and `shares` with what each draw counts for, on average its sample weight over the
   * memory's mean one. Not on an empty memory.
   */
  draw(slots: Uint32Array, shares: Float64Array, random: Random): void
  vectorAt(slot: number): Float64Array
  setPriority(slot: number, priority: number): void
  /** All that it holds, under these names: saved and restored by the owner. */
  arrays(name: string): StateArrays
}

/** The part of all draws that is even, regardless of the priorities: nothing counts for more than twice its weight. */
const evenShare = 0.5

export function createReplayMemory(capacity: number, width: number): ReplayMemory {
  const rows = new Float64Array(capacity * width)
  const weights = new Float64Array(capacity)
  const priorities = new Float64Array(capacity)
  /** How many are kept, and the next slot to write to. */
  const cursor = new Uint32Array(2)
  const sums = new Float64Array(capacity)

  return {
    keep(vector, weight, priority) {
      const slot = cursor[1]!
      for (let i = 0; i < width; i++) rows[slot * width + i] = vector[i]!
      weights[slot] = weight
      priorities[slot] = priority
      cursor[1] = (slot + 1) % capacity
      cursor[0] = Math.min(cursor[0]! + 1, capacity)
    },
    size: () => cursor[0]!,
    draw(slots, shares, random) {
      const count = cursor[0]!
      let [prioritySum, weightSum] = [0, 0]
      for (let slot = 0; slot < count; slot++) {
        prioritySum += priorities[slot]!
        weightSum += weights[slot]!
      }
      const even = prioritySum > 0 ? evenShare : 1
      const scale = prioritySum > 0 ? (1 - even) / prioritySum : 0
      let sum = 0
      for (let slot = 0; slot < count; slot++) {
        sum += even / count + scale * priorities[slot]!
        sums[slot] = sum
      }
      for (let i = 0; i < slots.length; i++) {
        const slot = firstAbove(sums, count, random.next() * sum)
        slots[i] = slot
        // What is drawn more often counts for as much less.
        shares[i] = weights[slot]! / (weightSum * (even / count + scale * priorities[slot]!))
      }
    },
    vectorAt: (slot) => rows.subarray(slot * width, (slot + 1) * width),
    setPriority(slot, priority) {
      priorities[slot] = priority
    },
    arrays: (name) => ({
      [`${name}.rows`]: rows,
      [`${name}.weights`]: weights,
      [`${name}.priorities`]: priorities,
      [`${name}.marks`]: cursor,
    }),
  }
}

function firstAbove(sums: Float64Array, count: number, value: number): number {
  let [low, high] = [0, count - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (sums[middle]! > value) high = middle
    else low = middle + 1
  }
  return low
}
