/** A record of the label stream in, the label that it reports out; called by all that join labels to predictions. Pure. */
import assert from 'node:assert/strict'
import type { LogRecord } from '../../runtime/broker.ts'
import { type Outcome, outcomeOf } from '../../schemas/plan/label-outcome.ts'
import type { LabelPlan, StreamPlan } from '../../schemas/plan/plan.ts'

export interface Label {
  /** Of the event that it names. */
  readonly id: string
  /** Of the label event itself, ms. */
  readonly time: number
  readonly outcome: Outcome
}

/** `rejected`: no valid event, or no outcome in it. `ahead`: dated further ahead of its append time than the stream allows. */
export function readLabel(
  record: Pick<LogRecord, 'value' | 'appendedAtMs'>,
  stream: StreamPlan,
  plan: Pick<LabelPlan, 'value'>,
): Label | 'rejected' | 'ahead' {
  const decoded = stream.codec.decode(record.value)
  if (!decoded.ok) return 'rejected'
  const time = decoded.event[stream.timeField]
  const id = decoded.event[stream.idField]
  assert(typeof time === 'number' && id !== null && id !== undefined, `a valid ${stream.name} without id or time`)
  // One label dated far ahead would make every event before it mature, as a negative.
  if (time > record.appendedAtMs + stream.aheadMs) return 'ahead'
  const outcome = outcomeOf(plan, decoded.event)
  return outcome === 'rejected' ? 'rejected' : { id: String(id), time, outcome }
}
