/**
 * What a large log keeps of the windows that end at its newest event: for each its number of facts, and for each column the exact sum. A
 * fact is added when the end of its window passes it, and taken out when the beginning does. Made and moved by `slide-slots.ts`; told by
 * `entity-log.ts` of every fact that is inserted, taken back or dropped, so that it always stands for the live facts.
 *
 * The ends of a window are places in canonical order, not rows: what is inserted elsewhere moves rows, and changes nothing here. Rows are
 * remembered only as where to look first. Sums are exact, and so do not depend on the order in which values come and go: a window gives
 * the bits of a scan.
 */
import { addExact, createExactSum, type ExactSum, exactSumOf, exactSumValueMax } from './exact-sum.ts'

/** Windows of one stream and lag: they end at the same place. */
export interface SlidingGroup {
  /** Order numbers of the stream: from one to another (exclusive). */
  readonly orderFrom: number
  readonly orderTo: number
  readonly lagMs: number
  /** Numbers of its windows, of all of the plan: from one to another (exclusive). */
  readonly windowFrom: number
  readonly windowTo: number
  /** Columns that are summed: in window w of the group, those of the sums from `sumFrom + (w − windowFrom) × columns` on. */
  readonly columns: readonly number[]
  readonly sumFrom: number
}

export interface SlidingPlan {
  readonly groups: readonly SlidingGroup[]
  /** By window. */
  readonly overs: Float64Array
  readonly sumCount: number
  readonly width: number
  /** Column of the time at which a fact became known; 0 where that is when it counts. */
  readonly knownColumn: number
}

export interface SlidingWindows {
  /** By it a reader knows its own. */
  readonly plan: SlidingPlan
  /** Where the windows were read last. */
  time: number
  order: number
  /** The last place at which a fact became known: windows that end before it are not these. */
  knownTime: number
  knownOrder: number
  /** By group: the end of its windows, and the row after it when it was looked for last. */
  readonly endTimes: Float64Array
  readonly endOrders: Float64Array
  readonly endRows: Int32Array
  /** By window: only facts later than its beginning count; and the first such row when it was looked for last. */
  readonly beginnings: Float64Array
  readonly firstRows: Int32Array
  /** The least of the beginnings: what lies before it is in no window. */
  firstBeginning: number
  /** By window: facts. */
  readonly counts: Int32Array
  /** By sum: the values together, and what their roundings lost; more of the sum where both together were not exact; null: nothing. */
  readonly totals: Float64Array
  readonly losts: Float64Array
  readonly rests: Array<ExactSum | null>
  /** By sum: facts with a value, and values that are too large to be summed. */
  readonly values: Int32Array
  readonly beyonds: Int32Array
}

/** Before every fact: nothing is in a window yet. */
export function createSlidingWindows(plan: SlidingPlan): SlidingWindows {
  const { groups, overs, sumCount } = plan
  const never = Number.NEGATIVE_INFINITY
  return {
    plan,
    time: never,
    order: never,
    knownTime: never,
    knownOrder: never,
    endTimes: new Float64Array(groups.length).fill(never),
    endOrders: new Float64Array(groups.length).fill(never),
    endRows: new Int32Array(groups.length),
    beginnings: new Float64Array(overs.length).fill(never),
    firstRows: new Int32Array(overs.length),
    firstBeginning: never,
    counts: new Int32Array(overs.length),
    totals: new Float64Array(sumCount),
    losts: new Float64Array(sumCount),
    rests: Array.from({ length: sumCount }, () => null),
    values: new Int32Array(sumCount),
    beyonds: new Int32Array(sumCount),
  }
}

/** The fact whose row begins at `at` is inserted. */
export function slideInserted(windows: SlidingWindows, rows: Float64Array, at: number): void {
  noteKnown(windows, rows, at)
  change(windows, rows, at, 1)
}

/** It is taken back, or dropped. */
export function slideRemoved(windows: SlidingWindows, rows: Float64Array, at: number): void {
  if (rows[at]! > windows.firstBeginning) change(windows, rows, at, -1)
}

export function noteKnown(windows: SlidingWindows, rows: Float64Array, at: number): void {
  const time = rows[at + windows.plan.knownColumn]!
  const order = rows[at + 1]!
  if (time < windows.knownTime || (time === windows.knownTime && order <= windows.knownOrder)) return
  windows.knownTime = time
  windows.knownOrder = order
}

/** In the windows that hold it now; those whose end it lies behind get it when they reach it. */
function change(windows: SlidingWindows, rows: Float64Array, at: number, sign: 1 | -1): void {
  const { plan, endTimes, endOrders, beginnings } = windows
  const time = rows[at]!
  const order = rows[at + 1]!
  for (let number = 0; number < plan.groups.length; number++) {
    const group = plan.groups[number]!
    if (order < group.orderFrom || order >= group.orderTo) continue
    const endTime = endTimes[number]!
    if (time > endTime || (time === endTime && order > endOrders[number]!)) continue
    for (let window = group.windowFrom; window < group.windowTo; window++) {
      if (time > beginnings[window]!) addToWindow(windows, group, window, rows, at, sign)
    }
  }
}

/** `sign`: −1 takes it out. */
export function addToWindow(
  windows: SlidingWindows,
  group: SlidingGroup,
  window: number,
  rows: Float64Array,
  at: number,
  sign: 1 | -1,
): void {
  windows.counts[window]! += sign
  const { columns } = group
  const first = group.sumFrom + (window - group.windowFrom) * columns.length
  for (let index = 0; index < columns.length; index++) {
    const value = rows[at + columns[index]!]!
    // Only NaN, which is missing, differs from itself.
    // biome-ignore lint/suspicious/noSelfCompare: see above.
    if (value !== value) continue
    windows.values[first + index]! += sign
    if (Math.abs(value) > exactSumValueMax) windows.beyonds[first + index]! += sign
    // 0 − 0 is 0, and −0 is no value.
    else addValue(windows, first + index, sign === 1 ? value : 0 - value)
  }
}

/** The first steps of `addExact`, which takes over where they are not exact. */
function addValue({ totals, losts, rests }: SlidingWindows, sum: number, value: number): void {
  const total = totals[sum]!
  const lost = losts[sum]!
  const newTotal = total + value
  const rounded = newTotal - total
  const error = total - (newTotal - rounded) + (value - rounded)
  const newLost = lost + error
  if (newLost - lost === error && newLost - error === lost) {
    totals[sum] = newTotal
    losts[sum] = newLost
    return
  }
  const rest = rests[sum] ?? createExactSum()
  rests[sum] = rest
  addExact(rest, value)
}

/** Rounded once; NaN where a value is too large to be summed. */
export function windowSum({ totals, losts, rests, beyonds }: SlidingWindows, sum: number): number {
  if (beyonds[sum]! > 0) return Number.NaN
  const rest = rests[sum]
  if (rest === null || rest === undefined) return totals[sum]! + losts[sum]!
  // All of it goes where it is exact.
  addExact(rest, totals[sum]!)
  addExact(rest, losts[sum]!)
  totals[sum] = 0
  losts[sum] = 0
  return exactSumOf(rest)
}
