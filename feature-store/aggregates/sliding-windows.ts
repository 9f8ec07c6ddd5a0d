/**
 * What a large log keeps of the windows that end at its newest event: for each its number of facts, for each column the exact sum and the
 * extremes. A fact is added when the end of its window passes it, and taken out when the beginning does. Made and moved by
 * `slide-slots.ts`; told by `entity-log.ts` of every fact that is inserted, taken back or dropped: it always stands for the live facts.
 *
 * The ends of a window are places in canonical order. Beside each stands the row after it and a time that this row is not before: until
 * the end gets there, no row is touched. Sums are exact, and so do not depend on the order in which values come and go: a window gives the
 * bits of a scan. Of facts with one value the extreme is the newest, as in a scan. Where it goes, the next is sought (`find-extreme.ts`).
 *
 * All of it lies together, behind the rows of the log: what an event costs is mostly how many lines of the cache and pages it touches.
 */
import { addToAll, type BlockMaxima, type Ranking, takeFromAll } from './block-maxima.ts'
import { addExact, createExactSum, type ExactSum, exactSumOf, exactSumValueMax } from './exact-sum.ts'
import { addToExtreme, extremeCells, extremeTime, soughtTime, takeFromExtreme } from './extreme-cells.ts'

/** Windows of one stream and lag: they end at the same place. */
export interface SlidingGroup {
  /** Order numbers of the stream: from one to another (exclusive). */
  readonly orderFrom: number
  readonly orderTo: number
  readonly lagMs: number
  /** Of its windows. */
  readonly overs: Float64Array
  /** Columns that are summed. */
  readonly columns: Int32Array
  /** Those whose largest is kept. */
  readonly rankings: readonly Ranking[]
  /** Where it lies, from `base`: the edge at its end, then its windows, `windowCells` each. */
  readonly cell: number
  readonly windowCells: number
}

export interface SlidingPlan {
  readonly groups: readonly SlidingGroup[]
  /** Of all groups. */
  readonly rankings: readonly Ranking[]
  readonly cellCount: number
  readonly width: number
  /** Column of the time at which a fact became known; 0 where that is when it counts. */
  readonly knownColumn: number
}

export interface SlidingWindows {
  /** By it a reader knows its own. */
  readonly plan: SlidingPlan
  /** From `base` on a head, then the groups. A group: an edge, its windows. A window: an edge, its number of facts, its sums, extremes. */
  cells: Float64Array
  base: number
  /** By the first cell of a sum, from `base`, what does not fit into it; null where nothing ever was. */
  rests: Array<SumRest | null> | null
  /** By ranking; null until an extreme is looked for among many facts. */
  maxima: readonly BlockMaxima[] | null
}

interface SumRest {
  /** Where total and lost were not exact together. */
  readonly sum: ExactSum
  /** Values that are too large to be summed. */
  beyond: number
}

/** Where the windows were read last. */
const readTime = 0
const readOrder = 1
/** The last place at which a fact became known: windows that end before it are not these. */
const knownTime = 2
const knownOrder = 3
/** The least of the beginnings: what lies before it is in no window. */
const firstBeginning = 4
/** No live fact is before it. */
const oldestTime = 5
/** 1 where the rows of all edges are right; 0 where rows have moved since, and each is only where to look first. */
const rowsKnown = 6
export const headCells = 7

/** An edge: the first row after it, or one that is dead where the first live one is; a time that this row is not before. */
const edgeRow = 0
const edgeTime = 1
export const edgeCells = 2
/** After the edge at the beginning of a window: facts in it. */
export const windowCount = 2
export const windowHeadCells = 3
/** A sum: the values together, and what their roundings lost; facts with a value. */
const sumLost = 1
export const sumValues = 2
export const sumCells = 3
const never = Number.NEGATIVE_INFINITY

/** Before every fact: nothing is in a window yet. */
export function createSlidingWindows(plan: SlidingPlan): SlidingWindows {
  const cells = new Float64Array(plan.cellCount)
  cells.fill(never, 0, rowsKnown)
  for (const { cell, overs, windowCells, columns, rankings } of plan.groups) {
    for (let window = 0, at = cell + edgeCells; window < overs.length; window++, at += windowCells) {
      const extreme = at + windowHeadCells + columns.length * sumCells
      for (let index = 0; index < rankings.length; index++)
        cells[extreme + index * extremeCells + extremeTime] = soughtTime
    }
  }
  return { plan, cells, base: 0, rests: null, maxima: null }
}

/** They lie in these cells from now on. */
export function placeWindows(windows: SlidingWindows, cells: Float64Array, base: number): void {
  cells.set(windows.cells.subarray(windows.base, windows.base + windows.plan.cellCount), base)
  windows.cells = cells
  windows.base = base
}

/** The fact whose row begins at `at` was put behind the last row. `start`, here and below: the first live row. */
export function slideAppended(windows: SlidingWindows, rows: Float64Array, at: number, start: number): void {
  const { cells, base } = windows
  noteFact(windows, rows, at)
  if (windows.maxima !== null) addToAll(windows.maxima, rows, at)
  const time = rows[at]!
  // Behind all ends, mostly, and behind the rows of all edges. Orders are compared each time, here and below: they decide seldom, and
  // what V8 has seldom seen it compiles for small integers only.
  const isLater = rows[at + 1]! > cells[base + readOrder]!
  if (time > cells[base + readTime]! || (time === cells[base + readTime]! && isLater)) return
  change(windows, rows, at, 1, 1, start)
}

/** It was inserted. `moved`: 1 where the rows after it have moved, 0 where it lies aside. */
export function slideInserted(
  windows: SlidingWindows,
  rows: Float64Array,
  at: number,
  moved: 0 | 1,
  start: number,
): void {
  noteFact(windows, rows, at)
  if (windows.maxima !== null) addToAll(windows.maxima, rows, at)
  change(windows, rows, at, 1, moved, start)
}

/** It is taken back, or dropped. */
export function slideRemoved(windows: SlidingWindows, rows: Float64Array, at: number): void {
  // What lies before all beginnings is in no block that will be asked for.
  if (rows[at]! <= windows.cells[windows.base + firstBeginning]!) return
  if (windows.maxima !== null) takeFromAll(windows.maxima, rows, at)
  change(windows, rows, at, -1, 0, 0)
}

/** Rows have moved in another way, or the last one is gone. */
export function slideMoved({ cells, base }: SlidingWindows): void {
  cells[base + rowsKnown] = 0
}

export function noteFact({ cells, base, plan }: SlidingWindows, rows: Float64Array, at: number): void {
  const time = rows[at + plan.knownColumn]!
  const order = rows[at + 1]!
  const isLater = order > cells[base + knownOrder]!
  if (time > cells[base + knownTime]! || (time === cells[base + knownTime]! && isLater)) {
    cells[base + knownTime] = time
    cells[base + knownOrder] = order
  }
  if (rows[at]! < cells[base + oldestTime]!) cells[base + oldestTime] = rows[at]!
}

export function noteOldest({ cells, base }: SlidingWindows, time: number): void {
  cells[base + oldestTime] = time
}

/** Whether a live fact may be before this time. */
export function mayBeBefore({ cells, base }: SlidingWindows, time: number): boolean {
  return cells[base + oldestTime]! < time
}

/** Whether a place lies before where the windows were read, or before a fact became known that the log has. */
export function isBeforeWindows({ cells, base }: SlidingWindows, time: number, order: number): boolean {
  const isBeforeRead = order < cells[base + readOrder]!
  const isBeforeKnown = order < cells[base + knownOrder]!
  if (time < cells[base + readTime]! || (time === cells[base + readTime]! && isBeforeRead)) return true
  return time < cells[base + knownTime]! || (time === cells[base + knownTime]! && isBeforeKnown)
}

/** In the windows that hold it now; those whose end it lies behind get it when they reach it. */
function change(
  windows: SlidingWindows,
  rows: Float64Array,
  at: number,
  sign: 1 | -1,
  moved: 0 | 1,
  start: number,
): void {
  const { plan, cells, base } = windows
  const { groups } = plan
  const time = rows[at]!
  const order = rows[at + 1]!
  for (let number = 0; number < groups.length; number++) {
    const group = groups[number]!
    const { overs, windowCells } = group
    const cell = base + group.cell
    const end = endTime(windows, group)
    const isLater = order > endOrder(windows, group)
    const isBehind = time > end || (time === end && isLater)
    noteAtEdge(cells, cell, isBehind, time, moved, start)
    const isCounted = !isBehind && order >= group.orderFrom && order < group.orderTo
    for (let index = 0, window = cell + edgeCells; index < overs.length; index++, window += windowCells) {
      const isAfter = time > end - overs[index]!
      noteAtEdge(cells, window, isAfter, time, moved, start)
      if (isAfter && isCounted) addToWindow(windows, group, window, rows, at, sign)
    }
  }
}

/** An edge and a fact that comes. One that goes changes nothing here: a row and a time too early are right, too. */
function noteAtEdge(
  cells: Float64Array,
  edge: number,
  isAfter: boolean,
  time: number,
  moved: 0 | 1,
  start: number,
): void {
  if (!isAfter) cells[edge + edgeRow] = Math.max(cells[edge + edgeRow]!, start) + moved
  else if (time < cells[edge + edgeTime]!) cells[edge + edgeTime] = time
}

export function endTime({ cells, base }: SlidingWindows, { lagMs }: SlidingGroup): number {
  return cells[base + readTime]! - lagMs
}

export function endOrder({ cells, base }: SlidingWindows, { lagMs }: SlidingGroup): number {
  return lagMs === 0 ? cells[base + readOrder]! : Number.POSITIVE_INFINITY
}

export function areRowsKnown({ cells, base }: SlidingWindows): boolean {
  return cells[base + rowsKnown] === 1
}

export function rowAtEdge({ cells }: SlidingWindows, edge: number): number {
  return cells[edge + edgeRow]! | 0
}

export function setEdge({ cells }: SlidingWindows, edge: number, row: number, time: number): void {
  cells[edge + edgeRow] = row
  cells[edge + edgeTime] = time
}

/** All edges stand where they do for this place now. */
export function noteRead({ cells, base }: SlidingWindows, time: number, order: number, first: number): void {
  cells[base + readTime] = time
  cells[base + readOrder] = order
  cells[base + firstBeginning] = first
  cells[base + rowsKnown] = 1
}

/**
 * Moves all windows on to a place, where the rows of edges are known and all facts are in rows `start` to `end`. The end of a group first,
 * then its beginnings, which lie before it: what is passed by both in one move goes in and out.
 */
export function moveOn(
  windows: SlidingWindows,
  rows: Float64Array,
  start: number,
  end: number,
  time: number,
  order: number,
): void {
  const { plan, cells, base } = windows
  const { groups } = plan
  let first = Number.POSITIVE_INFINITY
  for (let number = 0; number < groups.length; number++) {
    const group = groups[number]!
    const { overs, windowCells, lagMs } = group
    const cell = base + group.cell
    const until = time - lagMs
    if (cells[cell + edgeTime]! <= until) {
      moveEdge(windows, group, cell, -1, rows, start, end, until, lagMs === 0 ? order : Number.POSITIVE_INFINITY)
    }
    for (let index = 0, window = cell + edgeCells; index < overs.length; index++, window += windowCells) {
      const beginning = until - overs[index]!
      if (cells[window + edgeTime]! <= beginning)
        moveEdge(windows, group, window, window, rows, start, end, beginning, Number.POSITIVE_INFINITY)
      if (beginning < first) first = beginning
    }
  }
  noteRead(windows, time, order, first)
}

/** `window`: whose beginning the edge is; −1: it is the end of the group, with what lies at its instant up to `order`. */
function moveEdge(
  windows: SlidingWindows,
  group: SlidingGroup,
  edge: number,
  window: number,
  rows: Float64Array,
  start: number,
  end: number,
  time: number,
  order: number,
): void {
  const { cells, plan } = windows
  const { width } = plan
  let row = Math.max(cells[edge + edgeRow]! | 0, start)
  // Where no row is left, the next one may have any time.
  let next = never
  for (let at = row * width; row < end; row++, at += width) {
    const rowTime = rows[at]!
    if (rowTime > time || (rowTime === time && rows[at + 1]! > order)) {
      next = rowTime
      break
    }
    if (window < 0) addToGroup(windows, group, rows, at)
    else takeOut(windows, group, window, rows, at)
  }
  cells[edge + edgeRow] = row
  cells[edge + edgeTime] = next
}

export function addToGroup(windows: SlidingWindows, group: SlidingGroup, rows: Float64Array, at: number): void {
  const order = rows[at + 1]!
  if (order < group.orderFrom || order >= group.orderTo) return
  const { overs, windowCells } = group
  for (
    let index = 0, window = windows.base + group.cell + edgeCells;
    index < overs.length;
    index++, window += windowCells
  ) {
    addToWindow(windows, group, window, rows, at, 1)
  }
}

export function takeOut(
  windows: SlidingWindows,
  group: SlidingGroup,
  window: number,
  rows: Float64Array,
  at: number,
): void {
  const order = rows[at + 1]!
  if (order >= group.orderFrom && order < group.orderTo) addToWindow(windows, group, window, rows, at, -1)
}

/** `sign`: −1 takes it out. */
function addToWindow(
  windows: SlidingWindows,
  group: SlidingGroup,
  window: number,
  rows: Float64Array,
  at: number,
  sign: 1 | -1,
): void {
  const { cells } = windows
  const { columns } = group
  cells[window + windowCount]! += sign
  let sum = window + windowHeadCells
  for (let index = 0; index < columns.length; index++, sum += sumCells) {
    const value = rows[at + columns[index]!]!
    // Only NaN, which is missing, differs from itself.
    // biome-ignore lint/suspicious/noSelfCompare: see above.
    if (value !== value) continue
    cells[sum + sumValues]! += sign
    // 0 − 0 is 0, and −0 is no value.
    const added = sign === 1 ? value : 0 - value
    // The first steps of addExact, which takes over where they are not exact.
    const total = cells[sum]!
    const lost = cells[sum + sumLost]!
    const newTotal = total + added
    const rounded = newTotal - total
    const error = total - (newTotal - rounded) + (added - rounded)
    const newLost = lost + error
    const isExact = newLost - lost === error && newLost - error === lost
    if (isExact && added <= exactSumValueMax && added >= -exactSumValueMax) {
      cells[sum] = newTotal
      cells[sum + sumLost] = newLost
    } else {
      addToRest(windows, sum, added, sign)
    }
  }
  // Extremes lie behind the sums.
  const { rankings } = group
  for (let index = 0, cell = sum; index < rankings.length; index++, cell += extremeCells) {
    if (sign === -1) takeFromExtreme(cells, cell, rows, at)
    else if (cells[cell + extremeTime] !== soughtTime) addToExtreme(cells, cell, rankings[index]!, rows, at)
  }
}

function addToRest(windows: SlidingWindows, sum: number, value: number, sign: 1 | -1): void {
  windows.rests ??= Array.from({ length: windows.plan.cellCount }, () => null)
  const rest = windows.rests[sum - windows.base] ?? { sum: createExactSum(), beyond: 0 }
  windows.rests[sum - windows.base] = rest
  if (Math.abs(value) > exactSumValueMax) rest.beyond += sign
  else addExact(rest.sum, value)
}

/** Rounded once; NaN where a value is too large to be summed. `sum`: its first cell. */
export function windowSum({ cells, base, rests }: SlidingWindows, sum: number): number {
  const rest = rests === null ? null : rests[sum - base]
  if (rest === null || rest === undefined) return cells[sum]! + cells[sum + sumLost]!
  if (rest.beyond > 0) return Number.NaN
  // All of it goes where it is exact.
  addExact(rest.sum, cells[sum]!)
  addExact(rest.sum, cells[sum + sumLost]!)
  cells[sum] = 0
  cells[sum + sumLost] = 0
  return exactSumOf(rest.sum)
}
