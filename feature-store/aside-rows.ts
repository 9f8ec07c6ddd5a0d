/**
 * Rows of a large log that lie far from its end, until they are merged into the others: one by one, each would move megabytes. They are in
 * canonical order, and few. Called by `entity-log.ts`; who reads rows walks these too, or has them merged first (`mergeAside`).
 */
import assert from 'node:assert/strict'
import type { FactRow } from './fact-row.ts'

export interface AsideRows {
  readonly rows: Float64Array
  /** The same memory. */
  readonly words: Int32Array
  count: number
}

/** Merged when there are so many. */
export const asideRowsMax = 256

export function createAsideRows(width: number): AsideRows {
  const rows = new Float64Array(asideRowsMax * width)
  return { rows, words: new Int32Array(rows.buffer), count: 0 }
}

/** There must be room. */
export function insertAside(aside: AsideRows, width: number, { cells, words }: FactRow): void {
  const at = asideAfter(aside, width, cells[0]!, cells[1]!) * width
  const before = at - width
  assert(
    before < 0 || aside.rows[before] !== cells[0] || aside.rows[before + 1] !== cells[1],
    'a fact was inserted twice',
  )
  aside.rows.copyWithin(at + width, at, aside.count * width)
  aside.words.set(words, 2 * at)
  aside.count++
}

export function removeAsideRow(aside: AsideRows, width: number, row: number): void {
  aside.rows.copyWithin(row * width, (row + 1) * width, aside.count * width)
  aside.count--
}

/** The first of them that lies after (time, order). */
export function asideAfter({ rows, count }: AsideRows, width: number, time: number, order: number): number {
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    const rowTime = rows[middle * width]!
    if (rowTime < time || (rowTime === time && rows[middle * width + 1]! <= order)) low = middle + 1
    else high = middle
  }
  return low
}
