/** A binary heap of events in canonical order, smallest position on top. Holds the events of an alignment. */
import { type CanonicalPosition, compareCanonical } from '../../schemas/kernel/canonical-order.ts'

export interface CanonicalHeap<T extends CanonicalPosition> {
  readonly size: number
  top(): T | undefined
  push(item: T): void
  pop(): T | undefined
  /** Removes and returns all but the `keep` smallest. */
  keepSmallest(keep: number): T[]
}

export function createCanonicalHeap<T extends CanonicalPosition>(): CanonicalHeap<T> {
  const items: T[] = []

  function push(item: T): void {
    let at = items.length
    items.push(item)
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = items[above]!
      if (!isBefore(item, parent)) break
      items[at] = parent
      at = above
    }
    items[at] = item
  }

  function pop(): T | undefined {
    const first = items[0]
    const last = items.pop()
    if (first === undefined || last === undefined || items.length === 0) return first
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= items.length) break
      if (below + 1 < items.length && isBefore(items[below + 1]!, items[below]!)) below++
      const child = items[below]!
      if (!isBefore(child, last)) break
      items[at] = child
      at = below
    }
    items[at] = last
    return first
  }

  return {
    get size() {
      return items.length
    },
    top: () => items[0],
    push,
    pop,
    // In ascending order an array is a heap.
    keepSmallest: (keep) => items.sort(compareCanonical).splice(keep),
  }
}

function isBefore(a: CanonicalPosition, b: CanonicalPosition): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}
