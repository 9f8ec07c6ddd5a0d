/** What was measured on one line, as law, table and picture read it. Made by `costs.ts`. */
import type { Spread } from '../statistics.ts'
import type { CostLine, CostPoint } from './axes.ts'
import type { CostFigures } from './measure.ts'

export interface MeasuredPoint {
  readonly point: CostPoint
  readonly figures: CostFigures
  /** The load average of the machine before it. */
  readonly loadBefore: number
}

export interface LinePoint extends MeasuredPoint {
  /** What was reached: less than what was asked for where filling the windows took too long. */
  readonly size: number
  /** CPU of an event, µs. */
  readonly cost: Spread
  /** Steps of the calibration that cost as much as an event. */
  readonly steps: Spread
}

export interface MeasuredLine extends Pick<CostLine, 'name' | 'unit'> {
  readonly points: readonly LinePoint[]
  /** Sizes that were not tried, since a smaller one was not reached. */
  readonly skipped: readonly number[]
}
