/**
 * The outcome that a label event reports: 0, 1, or null, which withdraws an earlier one. Called wherever labels are joined to
 * predictions. Pure.
 */
import type { EventValues, FieldValue } from '../kernel/event.ts'
import type { LabelPlan } from './plan.ts'

/** Null: withdrawn, so that the event counts as unlabelled. */
export type Outcome = 0 | 1 | null

/** Position of a label event: the latest by (time, partition, offset) is in effect. */
export interface LabelPosition {
  /** Of the label event, ms. */
  readonly time: number
  readonly partition: number
  readonly offset: number
}

/** `rejected` for a valid event whose field holds anything but an outcome, such as 0.5. */
export function outcomeOf({ value }: Pick<LabelPlan, 'value'>, event: EventValues): Outcome | 'rejected' {
  return typeof value === 'number' ? outcomeIn(value) : outcomeIn(event[value.field] ?? null)
}

function outcomeIn(value: FieldValue): Outcome | 'rejected' {
  if (value === null || value === 0 || value === 1) return value
  return typeof value === 'boolean' ? (value ? 1 : 0) : 'rejected'
}

export function isLater(a: LabelPosition, b: LabelPosition): boolean {
  return (a.time - b.time || a.partition - b.partition || a.offset - b.offset) > 0
}
