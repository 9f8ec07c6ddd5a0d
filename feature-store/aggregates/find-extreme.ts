/**
 * From a window that its extreme has left to the one it has now: the newest of its facts with the largest (or smallest) value. A few rows
 * are looked at one by one; of many, those at both ends of the window, and of those between the one block that has the largest. Called by
 * `slide-slots.ts`, with windows that stand where they are read.
 *
 * It costs parts of two blocks, one block and a few nodes. Besides, each row is looked at once for a block after it came.
 */
import { asideAfter } from '../aside-rows.ts'
import { type EntityLog, upperBound } from '../log-rows.ts'
import {
  addToBlocks,
  appendBlock,
  type BlockMaxima,
  blockAt,
  blockFacts,
  clearBlocks,
  createBlockMaxima,
  isMore,
  largestBlock,
  type Ranking,
  rankOf,
  setBlock,
} from './block-maxima.ts'
import { addToExtreme, clearExtreme } from './extreme-cells.ts'
import { endOrder, endTime, rowAtEdge, type SlidingGroup, type SlidingWindows } from './sliding-windows.ts'

/** Where what a slot is computed from lies. */
export interface ValuePlace {
  readonly group: SlidingGroup
  /** Number of the extreme's ranking; −1 for a kind that is no extreme. */
  readonly ranking: number
  /** From `base`: the number of facts, or the first cell of the sum or extreme. */
  readonly cell: number
  /** From `base`: the first cell of the window. */
  readonly window: number
  readonly overMs: number
}

/** Windows of fewer rows are looked through: it costs no more than parts of blocks do. */
const lookedThroughMax = 256
/** Behind all facts of an instant. */
const lastOrder = Number.POSITIVE_INFINITY

/** Writes it to its cells. */
export function findExtreme(log: EntityLog, windows: SlidingWindows, place: ValuePlace): void {
  const { group, ranking, overMs } = place
  const { cells, base, plan } = windows
  const cell = base + place.cell
  const values = plan.rankings[ranking]!
  const from = Math.max(rowAtEdge(windows, base + place.window), log.start)
  const to = rowAtEdge(windows, base + group.cell)
  const [untilTime, untilOrder] = [endTime(windows, group), endOrder(windows, group)]
  const { width, aside } = log
  clearExtreme(cells, cell)
  if (aside !== null && aside.count > 0) {
    const until = asideAfter(aside, width, untilTime, untilOrder)
    for (let row = asideAfter(aside, width, untilTime - overMs, lastOrder); row < until; row++)
      addToExtreme(cells, cell, values, aside.rows, row * width)
  }
  if (to - from <= lookedThroughMax) {
    addRows(log, cells, cell, values, from, to)
    return
  }
  const maxima = maximaOf(windows, ranking)
  formBlocks(log, maxima, to)
  // The block that the window begins in is not all of it, nor the one it ends in.
  const first = blockAt(maxima, untilTime - overMs, lastOrder) + 1
  const behind = blockAt(maxima, untilTime, untilOrder)
  if (first >= behind) {
    addRows(log, cells, cell, values, from, to)
    return
  }
  addRows(log, cells, cell, values, from, firstRow(log, maxima, first))
  addRows(log, cells, cell, values, firstRow(log, maxima, behind), to)
  addBlocks(log, cells, cell, maxima, first, behind)
}

/** Of rows `from` to `to` (exclusive), the newest that has the largest value. */
function addRows(
  { rows, width }: EntityLog,
  cells: Float64Array,
  cell: number,
  ranking: Ranking,
  from: number,
  to: number,
): void {
  const { column, orderFrom, orderTo, sign } = ranking
  let most = Number.NEGATIVE_INFINITY
  let found = -1
  // From the newest on: what is older has to be larger, but for the first one.
  for (let at = (to - 1) * width, until = from * width; at >= until; at -= width) {
    const rank = rows[at + column]! * sign
    if (!(rank > most || (found === -1 && rank === most))) continue
    const order = rows[at + 1]!
    if (order < orderFrom || order >= orderTo) continue
    most = rank
    found = at
  }
  if (found !== -1) addToExtreme(cells, cell, ranking, rows, found)
}

function maximaOf(windows: SlidingWindows, ranking: number): BlockMaxima {
  windows.maxima ??= windows.plan.rankings.map(createBlockMaxima)
  return windows.maxima[ranking]!
}

/** Those of the blocks `first` to `behind` (exclusive). What lies aside in them is added already: where that is the largest, it stays. */
function addBlocks(
  log: EntityLog,
  cells: Float64Array,
  cell: number,
  maxima: BlockMaxima,
  first: number,
  behind: number,
): void {
  const most = cells[cell]! * maxima.ranking.sign
  let block = largestBlock(maxima, first, behind, most)
  while (block !== -1 && maxima.isOpen[block] === 1) {
    setBlock(maxima, block, rankOfBlock(log, maxima, block))
    block = largestBlock(maxima, first, behind, most)
  }
  if (block === -1) return
  addRows(log, cells, cell, maxima.ranking, firstRow(log, maxima, block), firstRow(log, maxima, block + 1))
}

/** Of a block, or of what lies behind all of them. */
function firstRow(log: EntityLog, { times, orders }: BlockMaxima, block: number): number {
  return block === 0 ? log.start : upperBound(log, times[block - 1]!, orders[block - 1]!)
}

function rankOfBlock(log: EntityLog, maxima: BlockMaxima, block: number): number {
  const { rows, width, aside } = log
  const { ranking, times, orders } = maxima
  const most = largestRank(ranking, rows, width, firstRow(log, maxima, block), firstRow(log, maxima, block + 1))
  if (aside === null) return most
  const until = asideAfter(aside, width, times[block]!, orders[block]!)
  const from = block === 0 ? 0 : asideAfter(aside, width, times[block - 1]!, orders[block - 1]!)
  const ofAside = largestRank(ranking, aside.rows, width, from, until)
  return isMore(ofAside, most) ? ofAside : most
}

function largestRank(ranking: Ranking, rows: Float64Array, width: number, from: number, to: number): number {
  let most = Number.NaN
  for (let at = from * width, until = to * width; at < until; at += width) {
    const rank = rankOf(ranking, rows, at)
    if (isMore(rank, most)) most = rank
  }
  return most
}

/** Of all rows before `to`, but for less than a block. Where there is no room for more, those of dead rows go, and all are formed anew. */
function formBlocks(log: EntityLog, maxima: BlockMaxima, to: number): void {
  const { rows, width, start, end, aside } = log
  let row = firstRow(log, maxima, maxima.count)
  if (to - row < blockFacts) return
  if (maxima.count + (to - row) / blockFacts > maxima.capacity) {
    clearBlocks(maxima, end - start)
    row = start
  }
  const formed = maxima.count
  for (; row + blockFacts <= to; row += blockFacts) {
    const at = (row + blockFacts - 1) * width
    appendBlock(maxima, largestRank(maxima.ranking, rows, width, row, row + blockFacts), rows[at]!, rows[at + 1]!)
  }
  if (aside === null || aside.count === 0) return
  let among = formed === 0 ? 0 : asideAfter(aside, width, maxima.times[formed - 1]!, maxima.orders[formed - 1]!)
  for (; among < aside.count; among++) addToBlocks(maxima, aside.rows, among * width)
}
