/**
 * The fact of a window with the largest (or smallest) value, in three cells: `sliding-windows.ts` compares what comes and goes with it, and
 * `find-extreme.ts` looks for the next one where it has gone.
 */
import { isMore, type Ranking } from './block-maxima.ts'

/** An extreme: a value, and the place of its fact; NaN where no fact has a value. */
export const extremeTime = 1
export const extremeOrder = 2
export const extremeCells = 3
/** The time of an extreme that is gone, and is to be looked for. */
export const soughtTime = Number.POSITIVE_INFINITY

/** A fact of another stream changes nothing. `cell`, here and below: the first one of the extreme. */
export function addToExtreme(
  cells: Float64Array,
  cell: number,
  { column, orderFrom, orderTo, sign }: Ranking,
  rows: Float64Array,
  at: number,
): void {
  const time = rows[at]!
  const order = rows[at + 1]!
  const isOther = order < orderFrom || order >= orderTo
  const value = isOther ? Number.NaN : rows[at + column]!
  const most = cells[cell]!
  const before = cells[cell + extremeTime]!
  const isMost = isMore(value * sign, most * sign)
  const isLater = time > before || (time === before && order > cells[cell + extremeOrder]!)
  if (isMost || (value === most && isLater)) {
    cells[cell] = value
    cells[cell + extremeTime] = time
    cells[cell + extremeOrder] = order
  }
}

export function takeFromExtreme(cells: Float64Array, cell: number, rows: Float64Array, at: number): void {
  const isIt = cells[cell + extremeTime] === rows[at]! && cells[cell + extremeOrder] === rows[at + 1]!
  if (isIt) cells[cell + extremeTime] = soughtTime
}

/** Nothing is in the window. */
export function clearExtreme(cells: Float64Array, cell: number): void {
  cells[cell] = Number.NaN
  cells[cell + extremeTime] = Number.NEGATIVE_INFINITY
  cells[cell + extremeOrder] = Number.NEGATIVE_INFINITY
}
