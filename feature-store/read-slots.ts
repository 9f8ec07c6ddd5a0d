/**
 * From an entity's log and a position in canonical order to the values of all its aggregate slots. Compiled once per
 * entity; the batch loop calls the compiled function for every event, the feature reader for every query. Allocates
 * nothing per call.
 *
 * All windows of one stream and lag end at the same row: they are read in one backward scan, and each takes its value
 * as the scan crosses its edge.
 */

import type { CanonicalPosition } from '../schemas/kernel/canonical-order.ts'
import { orderOf } from '../schemas/kernel/canonical-order.ts'
import type { AggregateSlot, EntityPlan, FactLayout } from '../schemas/plan/plan.ts'
import { type EntityLog, upperBound } from './entity-log.ts'
import { addExact, clearExactSum, createExactSum, type ExactSum, exactSumOf, exactSumValueMax } from './exact-sum.ts'

/**
 * Writes the value of every slot of the entity to `out[slot.index]`; NaN is missing. A slot aggregates the facts of its
 * stream whose time lies in `(at.time − lag − over, at.time − lag]` and, without lag, that are not after `at` in
 * canonical order. `count` counts facts, `sum` of nothing is 0, `mean`, `min` and `max` of nothing are missing.
 */
export type ReadSlots = (log: EntityLog, at: CanonicalPosition, out: Float64Array) => void

/**
 * `then`: only facts that were known at `at` in canonical order, as the live stream saw it. `now`: also what became
 * known later. They differ only where facts count at another time than their stream's own. A query for an instant
 * passes it with infinite order.
 */
export type Knowledge = 'then' | 'now'

export function compileRead(entity: EntityPlan, options: { readonly knowledge?: Knowledge } = {}): ReadSlots {
  const knownColumn = options.knowledge === 'now' ? null : entity.layout.knownColumn
  const reads = groupByEnd(entity.slots).map((group) => compileGroup(group, entity.layout, knownColumn))
  return (log, at, out) => {
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
  readonly columns: readonly Column[]
}

interface Window {
  readonly overMs: number
  readonly slots: readonly WindowSlot[]
}

interface WindowSlot {
  readonly index: number
  readonly kind: AggregateSlot['kind']
  /** Place of the slot's column in the group's columns; -1 for count. */
  readonly column: number
}

/** What a scan keeps of one column of values. */
interface Column {
  readonly column: number
  /** 10^decimals where the values are integers, 1 where they are plain doubles. */
  readonly scale: number
  readonly ranged: boolean
  readonly sum: ExactSum
  /** Facts that have a value. */
  valued: number
  low: number
  high: number
}

/** Order numbers of one stream. */
const ordersPerStream = orderOf(1, 0, 0) - orderOf(0, 0, 0)

function groupByEnd(slots: readonly AggregateSlot[]): Group[] {
  const byEnd = new Map<string, AggregateSlot[]>()
  for (const slot of slots) {
    const end = `${slot.stream} ${slot.lagMs}`
    byEnd.set(end, [...(byEnd.get(end) ?? []), slot])
  }
  return [...byEnd.values()].map((group) => {
    const columns = columnsOf(group)
    const overs = [...new Set(group.map((slot) => slot.overMs))].sort((a, b) => a - b)
    const windows = overs.map((overMs) => ({
      overMs,
      slots: group
        .filter((slot) => slot.overMs === overMs)
        .map(({ index, kind, column }) => ({
          index,
          kind,
          column: kind === 'count' ? -1 : columns.findIndex((candidate) => candidate.column === column),
        })),
    }))
    const { stream, lagMs } = group[0]!
    return { stream, lagMs, windows, columns }
  })
}

function columnsOf(slots: readonly AggregateSlot[]): Column[] {
  const valuedSlots = slots.filter((slot) => slot.kind !== 'count' && slot.column !== null)
  return [...new Set(valuedSlots.map((slot) => slot.column))].map((column) => {
    const readers = valuedSlots.filter((slot) => slot.column === column)
    return {
      column: column!,
      scale: 10 ** (readers[0]!.decimals ?? 0),
      ranged: readers.some(({ kind }) => kind === 'min' || kind === 'max'),
      sum: createExactSum(),
      valued: 0,
      low: Number.NaN,
      high: Number.NaN,
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
  const isPlain = group.columns.length === 0 || (group.columns.length === 1 && !group.columns[0]!.ranged)
  return isPlain ? compilePlainScan(group, filter) : compileColumnsScan(group, filter)
}

/**
 * Row at which a group's windows end: the last one at or before `until`, and not after `at` where nothing lies between.
 */
function lastRow(log: EntityLog, at: CanonicalPosition, lagMs: number): number {
  return upperBound(log, at.time - lagMs, lagMs === 0 ? at.order : Number.POSITIVE_INFINITY) - 1
}

/**
 * Counts, and the sum of one column: what most definitions ask for. All that is added up stays in local variables, for
 * speed.
 */
function compilePlainScan(group: Group, filter: Filter): ReadSlots {
  const { lagMs, windows, columns } = group
  const { width, orderFrom, orderTo, byStream, knownColumn } = filter
  const summed = columns[0]
  const valueColumn = summed?.column ?? -1
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
    if (summed !== undefined) clearColumn(summed)
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
          addExact(summed!.sum, value)
        }
      }
      if (summed !== undefined) {
        summed.valued = valued
        addExact(summed.sum, total)
        addExact(summed.sum, lost)
        total = 0
        lost = 0
      }
      writeWindow(window, columns, count, out)
    }
  }
}

/** Any number of columns, each summed and ranged in the same scan. */
function compileColumnsScan(group: Group, filter: Filter): ReadSlots {
  const { lagMs, windows, columns } = group
  const { width, orderFrom, orderTo, knownColumn } = filter
  return (log, at, out) => {
    const { rows } = log
    const { time, order } = at
    const until = time - lagMs
    const first = log.start * width
    let row = lastRow(log, at, lagMs) * width
    let count = 0
    for (let index = 0; index < columns.length; index++) clearColumn(columns[index]!)
    for (let index = 0; index < windows.length; index++) {
      const window = windows[index]!
      const edge = until - window.overMs
      for (; row >= first && rows[row]! > edge; row -= width) {
        const rowOrder = rows[row + 1]!
        if (rowOrder < orderFrom || rowOrder >= orderTo) continue
        if (knownColumn >= 0) {
          const known = rows[row + knownColumn]!
          if (known > time || (known === time && rowOrder > order)) continue
        }
        count++
        for (let place = 0; place < columns.length; place++) addValue(columns[place]!, rows, row)
      }
      writeWindow(window, columns, count, out)
    }
  }
}

function addValue(column: Column, rows: Float64Array, row: number): void {
  const value = rows[row + column.column]!
  if (Number.isNaN(value)) return
  column.valued++
  addExact(column.sum, value)
  // The first value beats the missing one, which compares false with everything.
  if (!(value >= column.low)) column.low = value
  if (!(value <= column.high)) column.high = value
}

function clearColumn(column: Column): void {
  column.valued = 0
  column.low = Number.NaN
  column.high = Number.NaN
  clearExactSum(column.sum)
}

function writeWindow(window: Window, columns: readonly Column[], count: number, out: Float64Array): void {
  const { slots } = window
  for (let index = 0; index < slots.length; index++) {
    const slot = slots[index]!
    out[slot.index] = slot.kind === 'count' ? count : columnValue(slot.kind, columns[slot.column]!)
  }
}

function columnValue(kind: Exclude<AggregateSlot['kind'], 'count'>, column: Column): number {
  switch (kind) {
    case 'sum':
      return exactSumOf(column.sum) / column.scale
    case 'mean':
      return column.valued === 0 ? Number.NaN : exactSumOf(column.sum) / (column.valued * column.scale)
    case 'min':
      return column.low / column.scale
    case 'max':
      return column.high / column.scale
  }
}
