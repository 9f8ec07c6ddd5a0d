/** A record of the label stream in, the label that it reports out; called by all that join labels to predictions. Pure. */
import assert from 'node:assert/strict'
import type { LogRecord } from '../../runtime/broker.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import { type Outcome, outcomeOf } from '../../schemas/plan/label-outcome.ts'
import type { LabelPlan, StreamPlan } from '../../schemas/plan/plan.ts'

export interface Label {
  /** Of the event that it names. */
  readonly id: string
  /** Of the label event itself, ms. */
  readonly time: number
  readonly outcome: Outcome
}

/**
 * Why a record is no label: `invalid`, no valid event; `value`, one whose value is neither 0 nor 1, true nor false, nor missing; `ahead`,
 * dated further ahead of its append time than the stream allows.
 */
export type NoLabel = 'invalid' | 'value' | 'ahead'

export function readLabel(
  record: Pick<LogRecord, 'value' | 'appendedAtMs'>,
  stream: StreamPlan,
  plan: Pick<LabelPlan, 'value'>,
): Label | NoLabel {
  const decoded = stream.codec.decode(record.value)
  if (!decoded.ok) return isOfValue(decoded.problems, plan) ? 'value' : 'invalid'
  const time = decoded.event[stream.timeField]
  const id = decoded.event[stream.idField]
  assert(typeof time === 'number' && id !== null && id !== undefined, `a valid ${stream.name} without id or time`)
  // One label dated far ahead would make every event before it mature, as a negative.
  if (time > record.appendedAtMs + stream.aheadMs) return 'ahead'
  const outcome = outcomeOf(plan, decoded.event)
  return outcome === 'rejected' ? 'value' : { id: String(id), time, outcome }
}

function isOfValue(problems: readonly Problem[], { value }: Pick<LabelPlan, 'value'>): boolean {
  return typeof value === 'object' && problems.length === 1 && problems[0]!.path === `/${value.field}`
}
