/**
 * The slots of a large log for its newest event: windows are moved on from the last event to this one, so the cost is that of the facts
 * that they pass, however many they hold, and, where an extreme has left one, of finding the next. Compiled once an entity by
 * `read-slots.ts`, which scans where this does not apply: in small logs, for late events and for places of the past.
 */
import { type CanonicalPosition, orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { AggregateSlot, FactLayout } from '../../schemas/plan/plan.ts'
import { asideAfter } from '../aside-rows.ts'
import { type EntityLog, openWindows, upperBound } from '../log-rows.ts'
import type { Ranking } from './block-maxima.ts'
import { extremeCells, extremeTime, soughtTime } from './extreme-cells.ts'
import { findExtreme, type ValuePlace } from './find-extreme.ts'
import { type AggregateAlgebra, aggregates, valueOfSum } from './kinds.ts'
import {
  addToGroup,
  areRowsKnown,
  createSlidingWindows,
  edgeCells,
  endOrder,
  endTime,
  headCells,
  isBeforeWindows,
  moveOn,
  noteFact,
  noteRead,
  rowAtEdge,
  type SlidingGroup,
  type SlidingPlan,
  type SlidingWindows,
  setEdge,
  sumCells,
  sumValues,
  takeOut,
  windowCount,
  windowHeadCells,
  windowSum,
} from './sliding-windows.ts'

/** False where the place lies before what the windows have passed: nothing is written, and nothing has changed. */
export type SlideSlots = (log: EntityLog, at: CanonicalPosition, out: Float64Array) => boolean

/** A slot with where its value comes from. */
interface SlidingSlot extends ValuePlace {
  readonly index: number
  readonly takes: AggregateAlgebra<unknown>['slides']
  /** 10^decimals where the values are integers. */
  readonly scale: number
}

export function compileSlide(slots: readonly AggregateSlot[], layout: FactLayout): SlideSlots {
  const { plan, sliding } = planWindows(slots, layout)
  const writeSlots = compileValues(sliding.filter(({ ranking }) => ranking === -1))
  const extremes = sliding.filter(({ ranking }) => ranking !== -1)
  return (log, at, out) => {
    const windows = log.windows ?? windowsOf(log, plan)
    // Of somebody else, or before where they stand.
    if (windows.plan !== plan || isBeforeWindows(windows, at.time, at.order)) return false
    if (areRowsKnown(windows) && (log.aside === null || log.aside.count === 0))
      moveOn(windows, log.rows, log.start, log.end, at.time, at.order)
    else moveSearching(log, windows, at.time, at.order)
    writeSlots(windows, out)
    for (let index = 0; index < extremes.length; index++) writeExtreme(log, windows, extremes[index]!, out)
    return true
  }
}

/** Numbers of the slots in flat arrays: this runs for every slot of every event. */
function compileValues(slots: readonly SlidingSlot[]) {
  const count = slots.length
  const indexes = Int32Array.from(slots, ({ index }) => index)
  const cellOf = Int32Array.from(slots, ({ cell }) => cell)
  const isCount = Uint8Array.from(slots, ({ takes }) => (takes === 'count' ? 1 : 0))
  const isMean = Uint8Array.from(slots, ({ takes }) => (takes === 'mean' ? 1 : 0))
  const scales = Float64Array.from(slots, ({ scale }) => scale)
  return (windows: SlidingWindows, out: Float64Array): void => {
    const { cells, base } = windows
    for (let slot = 0; slot < count; slot++) {
      const cell = base + cellOf[slot]!
      out[indexes[slot]!] =
        isCount[slot] === 1
          ? cells[cell]!
          : valueOfSum(isMean[slot] === 1, windowSum(windows, cell), cells[cell + sumValues]!, scales[slot]!)
    }
  }
}

function writeExtreme(log: EntityLog, windows: SlidingWindows, slot: SlidingSlot, out: Float64Array): void {
  const { cells, base } = windows
  const cell = base + slot.cell
  if (cells[cell + extremeTime] === soughtTime) findExtreme(log, windows, slot)
  out[slot.index] = cells[cell]! / slot.scale
}

function planWindows(slots: readonly AggregateSlot[], layout: FactLayout) {
  const groups: SlidingGroup[] = []
  const rankings: Ranking[] = []
  const sliding: SlidingSlot[] = []
  let cellCount = headCells
  for (const end of new Set(slots.map(endOf))) {
    const ofGroup = slots.filter((slot) => endOf(slot) === end)
    const group = planGroup(ofGroup, rankings, cellCount)
    cellCount += edgeCells + group.overs.length * group.windowCells
    groups.push(group)
    for (const slot of ofGroup) sliding.push(planSlot(slot, group, rankings))
  }
  const plan: SlidingPlan = { groups, rankings, cellCount, width: layout.width, knownColumn: layout.knownColumn ?? 0 }
  return { plan, sliding }
}

/** `rankings`: of all groups; those that are new are added. `cell`: where it begins. */
function planGroup(slots: readonly AggregateSlot[], rankings: Ranking[], cell: number): SlidingGroup {
  const { stream, lagMs } = slots[0]!
  const numbers = new Set(slots.filter(isExtreme).map((slot) => rankingOf(slot, rankings)))
  const summed = slots.filter(({ kind }) => aggregates[kind].slides === 'sum' || aggregates[kind].slides === 'mean')
  const columns = [...new Set(summed.map(({ column }) => column!))]
  return {
    ...ordersOf(stream),
    lagMs,
    overs: Float64Array.from(new Set(slots.map(({ overMs }) => overMs))),
    columns: Int32Array.from(columns),
    rankings: Array.from(numbers, (number) => rankings[number]!),
    cell,
    windowCells: windowHeadCells + columns.length * sumCells + numbers.size * extremeCells,
  }
}

/** The slot's values are compared. */
function isExtreme({ kind }: AggregateSlot): boolean {
  return aggregates[kind].slides === 'smallest' || aggregates[kind].slides === 'largest'
}

function rankingOf({ kind, stream, column }: AggregateSlot, rankings: Ranking[]): number {
  const { orderFrom, orderTo } = ordersOf(stream)
  const sign = aggregates[kind].slides === 'smallest' ? -1 : 1
  const known = rankings.findIndex((one) => one.column === column && one.sign === sign && one.orderFrom === orderFrom)
  return known === -1 ? rankings.push({ column: column!, orderFrom, orderTo, sign }) - 1 : known
}

function planSlot(slot: AggregateSlot, group: SlidingGroup, rankings: Ranking[]): SlidingSlot {
  const { index, kind, column, overMs, decimals } = slot
  const takes = aggregates[kind].slides
  const window = group.cell + edgeCells + group.overs.indexOf(overMs) * group.windowCells
  const sums = window + windowHeadCells
  const ranking = isExtreme(slot) ? rankingOf(slot, rankings) : -1
  let cell = window + windowCount
  if (ranking !== -1)
    cell = sums + group.columns.length * sumCells + group.rankings.indexOf(rankings[ranking]!) * extremeCells
  else if (takes !== 'count') cell = sums + group.columns.indexOf(column!) * sumCells
  return { index, cell, takes, scale: 10 ** (decimals ?? 0), group, window, overMs, ranking }
}

const endOf = ({ stream, lagMs }: AggregateSlot) => `${stream} ${lagMs}`

/** Order numbers of one stream. */
const ordersPerStream = orderOf(1, 0, 0) - orderOf(0, 0, 0)

function ordersOf(stream: number) {
  const orderFrom = orderOf(stream, 0, 0)
  return { orderFrom, orderTo: orderFrom + ordersPerStream }
}

function windowsOf(log: EntityLog, plan: SlidingPlan): SlidingWindows {
  const windows = createSlidingWindows(plan)
  openWindows(log, windows)
  const { rows, width, aside } = log
  for (let row = log.start; row < log.end; row++) noteFact(windows, rows, row * width)
  if (aside !== null) for (let row = 0; row < aside.count; row++) noteFact(windows, aside.rows, row * width)
  return windows
}

/** `moveOn` where rows have moved or lie aside: the row of each edge is looked for. */
function moveSearching(log: EntityLog, windows: SlidingWindows, time: number, order: number): void {
  let first = Number.POSITIVE_INFINITY
  for (const group of windows.plan.groups) {
    const { overs, windowCells, lagMs } = group
    const cell = windows.base + group.cell
    const until = time - lagMs
    searchEnd(log, windows, group, cell, until, lagMs === 0 ? order : Number.POSITIVE_INFINITY)
    for (let index = 0, window = cell + edgeCells; index < overs.length; index++, window += windowCells) {
      const beginning = until - overs[index]!
      searchBeginning(log, windows, group, window, endTime(windows, group) - overs[index]!, beginning)
      first = Math.min(first, beginning)
    }
  }
  noteRead(windows, time, order, first)
}

function searchEnd(
  log: EntityLog,
  windows: SlidingWindows,
  group: SlidingGroup,
  edge: number,
  time: number,
  order: number,
): void {
  const { rows, width, end, aside } = log
  const fromTime = endTime(windows, group)
  const fromOrder = endOrder(windows, group)
  let row = rowAfter(log, rowAtEdge(windows, edge), fromTime, fromOrder)
  for (; row < end && !isAfter(rows, row * width, time, order); row++) addToGroup(windows, group, rows, row * width)
  if (aside !== null && aside.count > 0) {
    const last = asideAfter(aside, width, time, order)
    for (let index = asideAfter(aside, width, fromTime, fromOrder); index < last; index++)
      addToGroup(windows, group, aside.rows, index * width)
  }
  setEdge(windows, edge, row, timeAt(log, row))
}

function searchBeginning(
  log: EntityLog,
  windows: SlidingWindows,
  group: SlidingGroup,
  window: number,
  from: number,
  beginning: number,
): void {
  const { rows, width, end, aside } = log
  let row = rowAfter(log, rowAtEdge(windows, window), from, Number.POSITIVE_INFINITY)
  for (; row < end && rows[row * width]! <= beginning; row++) takeOut(windows, group, window, rows, row * width)
  if (aside !== null && aside.count > 0) {
    const last = asideAfter(aside, width, beginning, Number.POSITIVE_INFINITY)
    for (let index = asideAfter(aside, width, from, Number.POSITIVE_INFINITY); index < last; index++)
      takeOut(windows, group, window, aside.rows, index * width)
  }
  setEdge(windows, window, row, timeAt(log, row))
}

function timeAt({ rows, width, end }: EntityLog, row: number): number {
  return row < end ? rows[row * width]! : Number.NEGATIVE_INFINITY
}

/** The first row after a place: the one that it was before, unless rows have moved since. */
function rowAfter(log: EntityLog, guess: number, time: number, order: number): number {
  const { rows, width, start, end } = log
  const isFirst =
    guess >= start &&
    guess <= end &&
    (guess === end || isAfter(rows, guess * width, time, order)) &&
    (guess === start || !isAfter(rows, (guess - 1) * width, time, order))
  return isFirst ? guess : upperBound(log, time, order)
}

function isAfter(rows: Float64Array, at: number, time: number, order: number): boolean {
  const rowTime = rows[at]!
  return rowTime > time || (rowTime === time && rows[at + 1]! > order)
}
