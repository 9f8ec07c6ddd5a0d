/**
 * Events in, the first in canonical order out. Sources send in order but for a few events, so what a source sends is kept as a run, and the
 * first of all runs is found by comparing their heads; what comes before the end of its run begins another one. Holds the events of an
 * alignment.
 */
import { type CanonicalPosition, compareCanonical } from '../../schemas/kernel/canonical-order.ts'

export interface CanonicalQueue<T extends CanonicalPosition> {
  readonly size: number
  top(): T | undefined
  push(item: T): void
  pop(): T | undefined
  /** Removes and returns all but the `keep` smallest. */
  keepSmallest(keep: number): T[]
}

/** Items in ascending order; those before `from` are gone. */
interface Run<T> {
  items: Array<T | undefined>
  from: number
}

interface QueueState<T> {
  size: number
  /** The run that the items of each source go to. */
  readonly ofSources: Array<Run<T> | undefined>
  /** Runs that are not empty, as a binary heap by their heads. */
  readonly heap: Array<Run<T>>
}

/** Items that are gone are cut off once there are so many, and as many as are left. */
const cutFrom = 1_024

export function createCanonicalQueue<T extends CanonicalPosition & { readonly source: number }>(): CanonicalQueue<T> {
  const state: QueueState<T> = { size: 0, ofSources: [], heap: [] }
  return {
    get size() {
      return state.size
    },
    top: () => (state.size === 0 ? undefined : headOf(state.heap[0]!)),
    push: (item) => push(state, item),
    pop: () => pop(state),
    keepSmallest(keep) {
      const items = state.heap.flatMap(({ items, from }) => items.slice(from) as T[]).sort(compareCanonical)
      state.size = 0
      state.heap.length = 0
      state.ofSources.length = 0
      for (let i = 0; i < Math.min(keep, items.length); i++) push(state, items[i]!)
      return items.slice(keep)
    },
  }
}

function push<T extends CanonicalPosition & { readonly source: number }>(state: QueueState<T>, item: T): void {
  const { ofSources, heap } = state
  state.size++
  const run = ofSources[item.source]
  if (run !== undefined && run.from < run.items.length) {
    const last = run.items[run.items.length - 1]!
    if (!isBefore(item, last)) {
      run.items.push(item)
      return
    }
    // The source goes on with its run: later items mostly follow the last, not this one.
    heap.push({ items: [item], from: 0 })
    siftUp(heap, heap.length - 1)
    return
  }
  const begun = { items: [item], from: 0 }
  ofSources[item.source] = begun
  heap.push(begun)
  siftUp(heap, heap.length - 1)
}

function pop<T extends CanonicalPosition>(state: QueueState<T>): T | undefined {
  const { heap } = state
  const run = heap[0]
  if (run === undefined) return undefined
  const first = headOf(run)
  state.size--
  // Nothing that was taken out is kept in memory.
  run.items[run.from++] = undefined
  if (run.from === run.items.length) {
    const last = heap.pop()!
    if (heap.length > 0) heap[0] = last
  } else if (run.from > cutFrom && 2 * run.from > run.items.length) {
    run.items = run.items.slice(run.from)
    run.from = 0
  }
  siftDown(heap)
  return first
}

function siftUp<T extends CanonicalPosition>(heap: Array<Run<T>>, start: number): void {
  const run = heap[start]!
  let at = start
  while (at > 0) {
    const above = (at - 1) >> 1
    if (!isBefore(headOf(run), headOf(heap[above]!))) break
    heap[at] = heap[above]!
    at = above
  }
  heap[at] = run
}

function siftDown<T extends CanonicalPosition>(heap: Array<Run<T>>): void {
  const run = heap[0]
  if (run === undefined) return
  const head = headOf(run)
  let at = 0
  for (;;) {
    let below = 2 * at + 1
    if (below >= heap.length) break
    if (below + 1 < heap.length && isBefore(headOf(heap[below + 1]!), headOf(heap[below]!))) below++
    if (!isBefore(headOf(heap[below]!), head)) break
    heap[at] = heap[below]!
    at = below
  }
  heap[at] = run
}

function headOf<T>({ items, from }: Run<T>): T {
  return items[from]!
}

function isBefore(a: CanonicalPosition, b: CanonicalPosition): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order)
}
