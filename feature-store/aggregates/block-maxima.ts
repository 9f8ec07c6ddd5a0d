/**
 * Of a large log's facts, the largest value in each block of neighbours, in each pair of blocks, pair of pairs and so on: for a range of
 * facts, however long, a few nodes name the block that has the largest. Asked by `find-extreme.ts`, which also forms the blocks; told by
 * `sliding-windows.ts` of every fact that comes or goes.
 *
 * A block ends at a place in canonical order, not at a row: where rows move, nothing changes here.
 */

/** Whose values are compared: a column of one stream's facts. */
export interface Ranking {
  readonly column: number
  /** Order numbers of the stream: from one to another (exclusive). */
  readonly orderFrom: number
  readonly orderTo: number
  /** −1 where the smallest is looked for. */
  readonly sign: 1 | -1
}

export interface BlockMaxima {
  readonly ranking: Ranking
  /** Blocks that there is room for: a power of two. */
  capacity: number
  count: number
  /** Where each block ends: the place of a fact that was its last. It begins behind the one before. */
  times: Float64Array
  orders: Float64Array
  /** Facts of each that came after it was formed. */
  added: Uint16Array
  /** 1 where the largest is gone, and the block is to be looked at again: its node is infinite. */
  isOpen: Uint8Array
  /**
   * Node 1 is the root, node n has the children 2n and 2n + 1, block b is node capacity + b. A node has its largest value times the sign,
   * NaN where there is none.
   */
  nodes: Float64Array
}

/** Facts of a block when it is formed. */
export const blockFacts = 64
/** More than can lie aside at once: a block that is formed with these has room for others. */
const addedMax = 512
const bytesPerBlock = 3 * 8 + 8 + 2 + 1

export function createBlockMaxima(ranking: Ranking): BlockMaxima {
  const none = new Float64Array(0)
  const marks = { added: new Uint16Array(0), isOpen: new Uint8Array(0) }
  return { ranking, capacity: 0, count: 0, times: none, orders: none, ...marks, nodes: none }
}

export function bytesOfMaxima(maxima: readonly BlockMaxima[]): number {
  let blocks = 0
  for (let index = 0; index < maxima.length; index++) blocks += maxima[index]!.capacity
  return blocks * bytesPerBlock
}

/** Without blocks, and with room for those of twice as many facts. */
export function clearBlocks(maxima: BlockMaxima, facts: number): void {
  let capacity = 8
  while (capacity * blockFacts < 2 * facts) capacity *= 2
  maxima.capacity = capacity
  maxima.count = 0
  maxima.times = new Float64Array(capacity)
  maxima.orders = new Float64Array(capacity)
  maxima.added = new Uint16Array(capacity)
  maxima.isOpen = new Uint8Array(capacity)
  maxima.nodes = new Float64Array(2 * capacity).fill(Number.NaN)
}

/** There must be room. `rank`: its largest. */
export function appendBlock(maxima: BlockMaxima, rank: number, time: number, order: number): void {
  const block = maxima.count++
  maxima.times[block] = time
  maxima.orders[block] = order
  maxima.added[block] = 0
  setBlock(maxima, block, rank)
}

export function setBlock(maxima: BlockMaxima, block: number, rank: number): void {
  maxima.isOpen[block] = 0
  setNode(maxima, block, rank)
}

function setNode({ nodes, capacity }: BlockMaxima, block: number, rank: number): void {
  nodes[capacity + block] = rank
  for (let node = (capacity + block) >> 1; node > 0; node >>= 1) {
    const newer = nodes[2 * node + 1]!
    const most = isMore(nodes[2 * node]!, newer) ? nodes[2 * node]! : newer
    if (Object.is(most, nodes[node]!)) return
    nodes[node] = most
  }
}

/** The block that a place lies in; the number of blocks where it lies behind all of them. */
export function blockAt({ times, orders, count }: BlockMaxima, time: number, order: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    const blockTime = times[middle]!
    if (blockTime < time || (blockTime === time && orders[middle]! < order)) low = middle + 1
    else high = middle
  }
  return low
}

/** A fact has come. */
export function addToBlocks(maxima: BlockMaxima, rows: Float64Array, at: number): void {
  const { count, times, added } = maxima
  const time = rows[at]!
  // Behind all blocks, mostly.
  if (count === 0 || time > times[count - 1]!) return
  const block = blockAt(maxima, time, rows[at + 1]!)
  if (block === count) return
  added[block]!++
  const rank = rankOf(maxima.ranking, rows, at)
  if (isMore(rank, maxima.nodes[maxima.capacity + block]!)) setNode(maxima, block, rank)
  // Too many facts to look at: from here on blocks are formed anew when they are needed.
  if (added[block]! > addedMax) maxima.count = block
}

/** A fact goes. */
export function takeFromBlocks(maxima: BlockMaxima, rows: Float64Array, at: number): void {
  const block = blockAt(maxima, rows[at]!, rows[at + 1]!)
  if (block === maxima.count) return
  if (rankOf(maxima.ranking, rows, at) !== maxima.nodes[maxima.capacity + block]!) return
  maxima.isOpen[block] = 1
  setNode(maxima, block, Number.POSITIVE_INFINITY)
}

export function addToAll(maxima: readonly BlockMaxima[], rows: Float64Array, at: number): void {
  for (let index = 0; index < maxima.length; index++) addToBlocks(maxima[index]!, rows, at)
}

export function takeFromAll(maxima: readonly BlockMaxima[], rows: Float64Array, at: number): void {
  for (let index = 0; index < maxima.length; index++) takeFromBlocks(maxima[index]!, rows, at)
}

/** The newest of the blocks `first` to `last` (exclusive) with the largest value; −1 where `most` is larger, or none has a value. */
export function largestBlock({ nodes, capacity }: BlockMaxima, first: number, last: number, most: number): number {
  let older = 0
  let newer = 0
  let olderMost = Number.NaN
  let newerMost = Number.NaN
  // The nodes that make up the range: on its left side from the oldest on, on its right side from the newest on.
  for (let left = capacity + first, right = capacity + last; left < right; left >>= 1, right >>= 1) {
    if ((left & 1) === 1) {
      if (!isMore(olderMost, nodes[left]!)) {
        older = left
        olderMost = nodes[left]!
      }
      left++
    }
    if ((right & 1) === 1 && isMore(nodes[--right]!, newerMost)) {
      newer = right
      newerMost = nodes[right]!
    }
  }
  const isOlder = isMore(olderMost, newerMost)
  const rank = isOlder ? olderMost : newerMost
  if (Number.isNaN(rank) || isMore(most, rank)) return -1
  let node = isOlder ? older : newer
  while (node < capacity) node = nodes[2 * node + 1] === rank ? 2 * node + 1 : 2 * node
  return node - capacity
}

/** The fact's value times the sign; NaN where it is missing, or the fact is of another stream. */
export function rankOf({ column, orderFrom, orderTo, sign }: Ranking, rows: Float64Array, at: number): number {
  const order = rows[at + 1]!
  return order >= orderFrom && order < orderTo ? rows[at + column]! * sign : Number.NaN
}

/** Whether a rank is larger than the largest so far, which is NaN where there is none. */
export function isMore(rank: number, most: number): boolean {
  return rank > most || (Number.isNaN(most) && !Number.isNaN(rank))
}
