/**
 * The counts, sums and means of a large log for its newest event: windows are moved on from the last event to this one, so the cost is that
 * of the facts that they pass, however many they hold. Compiled once an entity by `read-slots.ts`, which scans where this does not apply:
 * in small logs, for late events and for places of the past.
 */
import { type CanonicalPosition, orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { AggregateSlot, FactLayout } from '../../schemas/plan/plan.ts'
import { type AsideRows, asideAfter } from '../aside-rows.ts'
import { type EntityLog, upperBound } from '../entity-log.ts'
import { type AggregateAlgebra, aggregates } from './kinds.ts'
import {
  addToWindow,
  createSlidingWindows,
  noteKnown,
  type SlidingGroup,
  type SlidingPlan,
  type SlidingWindows,
  windowSum,
} from './sliding-windows.ts'

/** Whether the slot's value can be kept up to date by adding and taking out. */
export function canSlide({ kind }: AggregateSlot): boolean {
  const { accumulator, ofSum }: AggregateAlgebra<unknown> = aggregates[kind]
  return accumulator === null || ofSum !== null
}

/** False where the place lies before what the windows have passed: nothing is written, and nothing has changed. */
export type SlideSlots = (log: EntityLog, at: CanonicalPosition, out: Float64Array) => boolean

/** A slot with where its value comes from. */
interface SlidingSlot {
  readonly index: number
  readonly window: number
  readonly sum: number
  /** Null for a kind that counts facts. */
  readonly ofSum: AggregateAlgebra<unknown>['ofSum']
  /** 10^decimals where the values are integers. */
  readonly scale: number
}

/** All of these must be able to slide. */
export function compileSlide(slots: readonly AggregateSlot[], layout: FactLayout): SlideSlots {
  const { plan, sliding } = planWindows(slots, layout)
  return (log, at, out) => {
    const windows = windowsOf(log, plan)
    if (windows === null || isBefore(at, windows)) return false
    for (let number = 0; number < plan.groups.length; number++) moveGroup(log, windows, number, at.time, at.order)
    windows.time = at.time
    windows.order = at.order
    for (let index = 0; index < sliding.length; index++) {
      const { index: slot, window, sum, ofSum, scale } = sliding[index]!
      out[slot] = ofSum === null ? windows.counts[window]! : ofSum(windowSum(windows, sum), windows.values[sum]!, scale)
    }
    return true
  }
}

function planWindows(slots: readonly AggregateSlot[], layout: FactLayout) {
  const groups: SlidingGroup[] = []
  const overs: number[] = []
  const sliding: SlidingSlot[] = []
  let sumCount = 0
  for (const end of new Set(slots.map(endOf))) {
    const ofGroup = slots.filter((slot) => endOf(slot) === end)
    const { stream, lagMs } = ofGroup[0]!
    const columns = [...new Set(ofGroup.flatMap(({ column }) => column ?? []))]
    const ownOvers = [...new Set(ofGroup.map(({ overMs }) => overMs))]
    const [windowFrom, sumFrom] = [overs.length, sumCount]
    overs.push(...ownOvers)
    sumCount += ownOvers.length * columns.length
    const orders = { orderFrom: orderOf(stream, 0, 0), orderTo: orderOf(stream, 0, 0) + ordersPerStream }
    groups.push({ ...orders, lagMs, windowFrom, windowTo: overs.length, columns, sumFrom })
    for (const { index, kind, column, overMs, decimals } of ofGroup) {
      const { ofSum }: AggregateAlgebra<unknown> = aggregates[kind]
      const window = ownOvers.indexOf(overMs)
      const sum = column === null ? -1 : sumFrom + window * columns.length + columns.indexOf(column)
      sliding.push({ index, window: windowFrom + window, sum, ofSum, scale: 10 ** (decimals ?? 0) })
    }
  }
  const { width, knownColumn } = layout
  const plan: SlidingPlan = { groups, overs: Float64Array.from(overs), sumCount, width, knownColumn: knownColumn ?? 0 }
  return { plan, sliding }
}

const endOf = ({ stream, lagMs }: AggregateSlot) => `${stream} ${lagMs}`

/** Order numbers of one stream. */
const ordersPerStream = orderOf(1, 0, 0) - orderOf(0, 0, 0)

/** Null where the log keeps those of somebody else. */
function windowsOf(log: EntityLog, plan: SlidingPlan): SlidingWindows | null {
  if (log.windows !== null) return log.windows.plan === plan ? log.windows : null
  const windows = createSlidingWindows(plan)
  const { rows, width, aside } = log
  for (let row = log.start; row < log.end; row++) noteKnown(windows, rows, row * width)
  if (aside !== null) for (let row = 0; row < aside.count; row++) noteKnown(windows, aside.rows, row * width)
  log.windows = windows
  return windows
}

/** Before where the windows stand, or before a fact became known that the log has. */
function isBefore({ time, order }: CanonicalPosition, windows: SlidingWindows): boolean {
  if (time < windows.time || (time === windows.time && order < windows.order)) return true
  return time < windows.knownTime || (time === windows.knownTime && order < windows.knownOrder)
}

/** The end first, then the beginnings, which lie before it: what is passed by both in one move goes in and out. */
function moveGroup(log: EntityLog, windows: SlidingWindows, number: number, time: number, order: number): void {
  const group = windows.plan.groups[number]!
  const { overs } = windows.plan
  const until = time - group.lagMs
  moveEnd(log, windows, number, until, group.lagMs === 0 ? order : Number.POSITIVE_INFINITY)
  let first = number === 0 ? Number.POSITIVE_INFINITY : windows.firstBeginning
  for (let window = group.windowFrom; window < group.windowTo; window++) {
    const beginning = until - overs[window]!
    moveBeginning(log, windows, group, window, beginning)
    if (beginning < first) first = beginning
  }
  windows.firstBeginning = first
}

function moveEnd(log: EntityLog, windows: SlidingWindows, number: number, time: number, order: number): void {
  const { rows, width, end, aside } = log
  const group = windows.plan.groups[number]!
  const fromTime = windows.endTimes[number]!
  const fromOrder = windows.endOrders[number]!
  let row = rowAfter(log, windows.endRows[number]!, fromTime, fromOrder)
  for (; row < end; row++) {
    const rowAt = row * width
    const rowTime = rows[rowAt]!
    if (rowTime > time || (rowTime === time && rows[rowAt + 1]! > order)) break
    addToGroup(windows, group, rows, rowAt)
  }
  if (aside !== null && aside.count > 0) addAside(windows, number, aside, time, order)
  windows.endRows[number] = row
  windows.endTimes[number] = time
  windows.endOrders[number] = order
}

function addToGroup(windows: SlidingWindows, group: SlidingGroup, rows: Float64Array, at: number): void {
  const order = rows[at + 1]!
  if (order < group.orderFrom || order >= group.orderTo) return
  for (let window = group.windowFrom; window < group.windowTo; window++)
    addToWindow(windows, group, window, rows, at, 1)
}

/** Of the rows that are not merged yet, those from where the group's windows end to the place. */
function addAside(windows: SlidingWindows, number: number, aside: AsideRows, time: number, order: number): void {
  const { groups, width } = windows.plan
  const last = asideAfter(aside, width, time, order)
  const first = asideAfter(aside, width, windows.endTimes[number]!, windows.endOrders[number]!)
  for (let row = first; row < last; row++) addToGroup(windows, groups[number]!, aside.rows, row * width)
}

function moveBeginning(
  log: EntityLog,
  windows: SlidingWindows,
  group: SlidingGroup,
  window: number,
  beginning: number,
): void {
  const { rows, width, end, aside } = log
  const from = windows.beginnings[window]!
  let row = rowAfter(log, windows.firstRows[window]!, from, Number.POSITIVE_INFINITY)
  for (; row < end && rows[row * width]! <= beginning; row++) takeOut(windows, group, window, rows, row * width)
  if (aside !== null && aside.count > 0) {
    const last = asideAfter(aside, width, beginning, Number.POSITIVE_INFINITY)
    for (let index = asideAfter(aside, width, from, Number.POSITIVE_INFINITY); index < last; index++) {
      takeOut(windows, group, window, aside.rows, index * width)
    }
  }
  windows.firstRows[window] = row
  windows.beginnings[window] = beginning
}

function takeOut(windows: SlidingWindows, group: SlidingGroup, window: number, rows: Float64Array, at: number): void {
  const order = rows[at + 1]!
  if (order >= group.orderFrom && order < group.orderTo) addToWindow(windows, group, window, rows, at, -1)
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
