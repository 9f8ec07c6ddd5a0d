/** Rows of facts made by hand, for tests of the log and of what reads it. */
import { createFactRow, type FactRow, idWord } from '../../feature-store/fact-row.ts'

/** The hash of an id as it is found in a row. */
export function idOf(id: number) {
  return { low: id, high: Math.imul(id, 0x9e3779b1) }
}

/** Values from column 4 on. */
export function factRow(time: number, order: number, id: number, ...values: readonly number[]): FactRow {
  const row = createFactRow({ width: 4 + values.length })
  row.cells.set([time, order, 0, 0, ...values])
  row.words[idWord] = idOf(id).low
  row.words[idWord + 1] = idOf(id).high
  return row
}

/** The row that has these cells. */
export function rowOf(cells: Float64Array): FactRow {
  return { cells, words: new Int32Array(cells.buffer, cells.byteOffset, 2 * cells.length) }
}
