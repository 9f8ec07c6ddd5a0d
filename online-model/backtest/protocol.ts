/**
 * The protocol of a backtest as facts: which week is tested, what may be trained on before it, which rows of the week count. After the
 * Fraud Detection Handbook, chapter 3, with the definition's own label delay. Pure.
 */
import type { History } from './history.ts'

export const dayMs = 86_400_000

/** The ways of learning that are compared (see `lines.ts`). */
export const lineNames = ['split', 'retrained', 'continuous', 'arriving'] as const
export type LineName = (typeof lineNames)[number]

export interface Window {
  /** Ms, inclusive. */
  readonly fromMs: number
  /** Ms, exclusive. */
  readonly untilMs: number
}

export interface Protocol {
  readonly test: Window
  /** A label counts this long after its event, never earlier. */
  readonly labelDelayMs: number
  /** The week whose labels are due just when the test week begins. */
  readonly trainWeek: Window
  /** The four weeks that end with it. */
  readonly trainMonth: Window
}

const trainDays = 28
const weekMs = 7 * dayMs

/** `testFromMs` begins a day (UTC). */
export function protocolOf(testFromMs: number, labelDelayMs: number): Protocol {
  const trainUntilMs = testFromMs - labelDelayMs
  return {
    test: { fromMs: testFromMs, untilMs: testFromMs + weekMs },
    labelDelayMs,
    trainWeek: { fromMs: trainUntilMs - weekMs, untilMs: trainUntilMs },
    trainMonth: { fromMs: trainUntilMs - trainDays * dayMs, untilMs: trainUntilMs },
  }
}

/**
 * Rows of the test week that are measured, in their order: those with a label. Of each day those are left out whose entity is known to be
 * positive by then: by a positive in the training week, or on a later day whose labels count before that day begins.
 */
export function measuredRows(
  history: History,
  { test, trainWeek, labelDelayMs }: Protocol,
  labelOf: (row: number) => 0 | 1 | null,
): number[] {
  const known = new Set<number>()
  let next = history.rowAt(trainWeek.fromMs)
  const knowUntil = (timeMs: number) => {
    for (; next < history.end && history.timeOf(next) < timeMs; next++) {
      if (labelOf(next) === 1) known.add(history.keyOf(next))
    }
  }
  const rows: number[] = []
  for (let dayFromMs = test.fromMs; dayFromMs < test.untilMs; dayFromMs += dayMs) {
    knowUntil(dayFromMs - labelDelayMs)
    for (let row = history.rowAt(dayFromMs); row < history.end && history.timeOf(row) < dayFromMs + dayMs; row++) {
      if (labelOf(row) !== null && !known.has(history.keyOf(row))) rows.push(row)
    }
  }
  return rows
}
