/**
 * From an entity's log and a position in canonical order to the values of all its aggregate slots. Compiled once per
 * entity; the batch loop calls the compiled function for every event, the feature reader for every query. Allocates
 * nothing per call.
 *
 * All windows of one stream and lag end at the same row: they are read in one backward scan, and each takes its value
 * as the scan crosses its edge.
 */

import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { AggregateSlot, EntityPlan, FactLayout } from '../../schemas/plan/plan.ts'
import { liveRows, mergeAside } from '../entity-log.ts'
import { type EntityLog, upperBound } from '../log-rows.ts'
import { addExact, clearExactSum, type ExactSum, exactSumValueMax } from './exact-sum.ts'
import { type Accumulator, type AggregateAlgebra, aggregates, type Counts, exactSum } from './kinds.ts'
import { compileSlide } from './slide-slots.ts'

/**
 * Writes the value of every slot of the entity to `out[slot.index]`; NaN is missing. A slot aggregates the facts of its
 * stream whose time is in `(at.time − lag − over, at.time − lag]` and, without lag, that are not after `at` in
 * canonical order. `count` counts facts, `sum` of nothing is 0, `mean`, `min` and `max` of nothing are missing.
 */
export type ReadSlots = (log: EntityLog, at: CanonicalPosition, out: Float64Array) => void

/**
 * `then`: only facts that were known at `at` in canonical order, as the live stream saw it. `now`: also what became
 * known later. They differ only where facts count at another time than their stream's own. A query for an instant
 * passes it with infinite order.
 */
export type Knowledge = 'then' | 'now'

/** Each with what is known `then`, unless `now` is asked for. */
export function compileRead(
  { slots, layout }: EntityPlan,
  options: { readonly knowledge?: Knowledge } = {},
): ReadSlots {
  return compileScans(slots, layout, options.knowledge === 'now' ? null : layout.knownColumn)
}

/**
 * For who reads the same log again and again, mostly for its newest event: a log of more than `slidesFrom` facts keeps its windows, and
 * they are moved on from event to event. The values are those of the scan, bit for bit.
 */
export function compileSlidingRead({ slots, layout }: EntityPlan, slidesFrom = slidesFromFacts): ReadSlots {
  const scan = compileScans(slots, layout, layout.knownColumn)
  if (slots.length === 0) return scan
  const slide = compileSlide(slots, layout)
  return (log, at, out) => {
    const isSmall = log.windows === null && liveRows(log) <= slidesFrom
    if (isSmall || !slide(log, at, out)) scan(log, at, out)
  }
}

function compileScans(slots: readonly AggregateSlot[], layout: FactLayout, knownColumn: number | null): ReadSlots {
  const reads = groupByEnd(slots).map((group) => compileGroup(group, layout, knownColumn))
  return (log, at, out) => {
    mergeAside(log)
    for (let index = 0; index < reads.length; index++) reads[index]!(log, at, out)
  }
}

/**
 * Whether the slot's window at `time` begins before `floorTime`, from which on facts are kept: its value would be
 * short.
 */
export function reachesBefore(slot: AggregateSlot, time: number, floorTime: number): boolean {
  return time - slot.lagMs - slot.overMs < floorTime
}

/** Slots of one stream and lag. */
interface Group {
  readonly stream: number
  readonly lagMs: number
  /** Shortest first. */
  readonly windows: readonly Window[]
  /** Facts counted by the scan, for kinds that read no column. */
  readonly facts: Counts
  readonly columns: readonly Column[]
}

interface Window {
  readonly overMs: number
  readonly slots: readonly WindowSlot[]
}

interface WindowSlot {
  readonly index: number
  readonly value: AggregateAlgebra<unknown>['value']
  /** Of the slot's accumulator; null for a kind that counts facts. */
  readonly state: unknown
  readonly counts: Counts
}

/** What a scan keeps of one column of values. */
interface Column {
  readonly column: number
  readonly counts: Counts
  /** One for each accumulator that a slot of the column needs. */
  readonly running: readonly Running[]
}

interface Running {
  readonly accumulator: Accumulator<unknown>
  readonly state: unknown
}

/** Where moving windows costs less than scanning them. */
const slidesFromFacts = 32

/** Rows that a scan collects before their values are added: few enough to stay in the cache of a core. */
const collectedMax = 256

/** Order numbers of one stream. */
const ordersPerStream = orderOf(1, 0, 0) - orderOf(0, 0, 0)

function groupByEnd(slots: readonly AggregateSlot[]): Group[] {
  const byEnd = new Map<string, AggregateSlot[]>()
  for (const slot of slots) {
    const end = `${slot.stream} ${slot.lagMs}`
    byEnd.set(end, [...(byEnd.get(end) ?? []), slot])
  }
  return [...byEnd.values()].map((group) => {
    const facts: Counts = { facts: 0, values: 0, scale: 1 }
    const columns = columnsOf(group)
    const overs = [...new Set(group.map((slot) => slot.overMs))].sort((a, b) => a - b)
    const windows = overs.map((overMs) => ({
      overMs,
      slots: group.filter((slot) => slot.overMs === overMs).map((slot) => windowSlot(slot, facts, columns)),
    }))
    const { stream, lagMs } = group[0]!
    return { stream, lagMs, windows, facts, columns }
  })
}

function windowSlot({ index, kind, column }: AggregateSlot, facts: Counts, columns: readonly Column[]): WindowSlot {
  const { accumulator, value }: AggregateAlgebra<unknown> = aggregates[kind]
  if (accumulator === null) return { index, value, state: null, counts: facts }
  const { counts, running } = columns.find((candidate) => candidate.column === column)!
  return { index, value, state: running.find((one) => one.accumulator === accumulator)!.state, counts }
}

function columnsOf(slots: readonly AggregateSlot[]): Column[] {
  const reading = slots.flatMap(({ kind, column, decimals }) => {
    const { accumulator }: AggregateAlgebra<unknown> = aggregates[kind]
    return accumulator === null || column === null ? [] : [{ accumulator, column, decimals }]
  })
  return [...new Set(reading.map(({ column }) => column))].map((column) => {
    const readers = reading.filter((reader) => reader.column === column)
    const accumulators = [...new Set(readers.map(({ accumulator }) => accumulator))]
    return {
      column,
      counts: { facts: 0, values: 0, scale: 10 ** (readers[0]!.decimals ?? 0) },
      running: accumulators.map((accumulator) => ({ accumulator, state: accumulator.empty() })),
    }
  })
}

/** What decides which rows a scan takes. */
interface Filter {
  readonly width: number
  readonly orderFrom: number
  readonly orderTo: number
  /** False where every row of the log is of the group's stream. */
  readonly byStream: boolean
  /** Column of the time at which a fact became known; -1 where it does not matter. */
  readonly knownColumn: number
}

function compileGroup(group: Group, layout: FactLayout, knownColumn: number | null): ReadSlots {
  const orderFrom = orderOf(group.stream, 0, 0)
  const filter = {
    width: layout.width,
    orderFrom,
    orderTo: orderFrom + ordersPerStream,
    byStream: layout.sources.length > 1,
    knownColumn: knownColumn ?? -1,
  }
  const [first, ...others] = group.columns.flatMap(({ running }) => running)
  if (others.length > 0 || (first !== undefined && first.accumulator !== exactSum)) {
    return compileColumnsScan(group, filter)
  }
  const sum = first === undefined ? null : (first.state as ExactSum)
  return compilePlainScan(group, filter, sum)
}

/**
 * Row at which a group's windows end: the last one at or before `until`, and not after `at` where nothing lies between.
 */
function lastRow(log: EntityLog, at: CanonicalPosition, lagMs: number): number {
  return upperBound(log, at.time - lagMs, lagMs === 0 ? at.order : Number.POSITIVE_INFINITY) - 1
}

/**
 * Counts of facts, and the exact sum of at most one column: what most definitions need. All that is added up stays in
 * local variables, for speed. `sum`: of the column; null where there is none.
 */
function compilePlainScan(group: Group, filter: Filter, sum: ExactSum | null): ReadSlots {
  const { lagMs, windows, columns } = group
  const { width, orderFrom, orderTo, byStream, knownColumn } = filter
  const valueColumn = columns[0]?.column ?? -1
  const counts = columns[0]?.counts ?? group.facts
  return (log, at, out) => {
    const { rows } = log
    const { time, order } = at
    const until = time - lagMs
    const first = log.start * width
    let row = lastRow(log, at, lagMs) * width
    let count = 0
    let valued = 0
    let total = 0
    let lost = 0
    if (sum !== null) clearExactSum(sum)
    for (let index = 0; index < windows.length; index++) {
      const window = windows[index]!
      const edge = until - window.overMs
      for (; row >= first && rows[row]! > edge; row -= width) {
        const rowOrder = rows[row + 1]!
        if (byStream && (rowOrder < orderFrom || rowOrder >= orderTo)) continue
        if (knownColumn >= 0) {
          const known = rows[row + knownColumn]!
          if (known > time || (known === time && rowOrder > order)) continue
        }
        count++
        if (valueColumn < 0) continue
        const value = rows[row + valueColumn]!
        if (Number.isNaN(value)) continue
        valued++
        // The first steps of addExact, which takes over where they are not exact.
        const newTotal = total + value
        const rounded = newTotal - total
        const error = total - (newTotal - rounded) + (value - rounded)
        const newLost = lost + error
        if (newLost - lost === error && newLost - error === lost && Math.abs(value) <= exactSumValueMax) {
          total = newTotal
          lost = newLost
        } else {
          addExact(sum!, value)
        }
      }
      if (sum !== null) {
        counts.values = valued
        addExact(sum, total)
        addExact(sum, lost)
        total = 0
        lost = 0
      }
      writeWindow(group, window, count, out)
    }
  }
}

/** Any number of columns with any accumulators, in one scan. */
function compileColumnsScan(group: Group, filter: Filter): ReadSlots {
  const { lagMs, windows, columns } = group
  const { width, orderFrom, orderTo, byStream, knownColumn } = filter
  const collected = new Uint32Array(collectedMax)
  const values = new Float64Array(collectedMax)
  return (log, at, out) => {
    const { rows } = log
    const { time, order } = at
    const until = time - lagMs
    const first = log.start * width
    let row = lastRow(log, at, lagMs) * width
    let count = 0
    let collectedCount = 0
    for (let index = 0; index < columns.length; index++) clearColumn(columns[index]!)
    for (let index = 0; index < windows.length; index++) {
      const window = windows[index]!
      const edge = until - window.overMs
      for (; row >= first && rows[row]! > edge; row -= width) {
        const rowOrder = rows[row + 1]!
        if (byStream && (rowOrder < orderFrom || rowOrder >= orderTo)) continue
        if (knownColumn >= 0) {
          const known = rows[row + knownColumn]!
          if (known > time || (known === time && rowOrder > order)) continue
        }
        count++
        collected[collectedCount++] = row
        if (collectedCount < collectedMax) continue
        for (let index = 0; index < columns.length; index++)
          addColumn(columns[index]!, rows, collected, collectedCount, values)
        collectedCount = 0
      }
      for (let index = 0; index < columns.length; index++)
        addColumn(columns[index]!, rows, collected, collectedCount, values)
      collectedCount = 0
      writeWindow(group, window, count, out)
    }
  }
}

/**
 * Adds a column's values of the first `count` of these rows, in a loop of its own for each accumulator. `values` is scratch space.
 */
function addColumn(
  { column, counts, running }: Column,
  rows: Float64Array,
  collected: Uint32Array,
  count: number,
  values: Float64Array,
): void {
  let found = 0
  for (let index = 0; index < count; index++) {
    const value = rows[collected[index]! + column]!
    values[found] = value
    // Only NaN, which is missing, differs from itself.
    // biome-ignore lint/suspicious/noSelfCompare: see above.
    found += value === value ? 1 : 0
  }
  if (found === 0) return
  counts.values += found
  for (let index = 0; index < running.length; index++) {
    running[index]!.accumulator.add(running[index]!.state, values, found)
  }
}

function clearColumn({ counts, running }: Column): void {
  counts.values = 0
  for (let index = 0; index < running.length; index++) running[index]!.accumulator.clear(running[index]!.state)
}

function writeWindow({ facts, columns }: Group, { slots }: Window, count: number, out: Float64Array): void {
  facts.facts = count
  for (let index = 0; index < columns.length; index++) columns[index]!.counts.facts = count
  for (let index = 0; index < slots.length; index++) {
    const slot = slots[index]!
    out[slot.index] = slot.value(slot.state, slot.counts)
  }
}
