/**
 * What the audit compares: the outputs of stages, the events that they are computed again from, and the verdicts. Plain data; made by
 * `audit.ts`, compared by `audit-task.ts` and `compare-output.ts`.
 */
import type { RepartitionPlan } from '../../schemas/plan/plan.ts'
import type { Prediction, StagePosition } from '../../schemas/wire/records.ts'
import type { OracleEvent, OracleSortKey } from './oracle.ts'

export interface AuditedEvent extends OracleEvent {
  /** Slots of earlier stages that came with it. */
  readonly slots: readonly number[]
  /** The name that its dead letters in the stage would have. */
  readonly deadLetter: string
}

/** An event that a stage sent on: a repartition record with its slots, or a prediction. */
export interface AuditedOutput {
  readonly id: string
  readonly sortKey: OracleSortKey
  /** Position of the task at which it was computed. */
  readonly position: StagePosition
  /** Fetch that returned it. */
  readonly round: number
  /** Of the stage's entity; null where the output does not contain it. */
  readonly key: string | null
  readonly repartition: { readonly plan: RepartitionPlan; readonly slots: readonly number[] } | null
  readonly prediction: Prediction | null
}

/** Why an output was not compared. */
export const skipReasons = ['before_read', 'retention', 'duplicates', 'other_definition', 'model_unknown'] as const
/**
 * `before_read`: a window reaches before what was read. `retention`, `duplicates`: it differs, but facts may have been dropped by then, or
 * two events of one id arrived by different ways and out of order. `other_definition`, `model_unknown`: nothing to compare with.
 */
export type SkipReason = (typeof skipReasons)[number]

/** One value of an output that is not what it must be. */
export interface Difference {
  readonly stage: string
  readonly id: string
  readonly time: number
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly position: StagePosition
  /** Feature, slot (on a repartition topic), `score`, `shadow <version>`, or `event` where there is no such event. */
  readonly name: string
  readonly expected: number | string | null
  readonly logged: number | null
}

export type Verdict =
  | { readonly kind: 'equal' }
  | { readonly kind: 'skipped'; readonly reason: SkipReason }
  | { readonly kind: 'differing'; readonly differences: readonly Difference[] }

/** Location of the raw event. */
export function originOf({ partition, offset }: OracleSortKey): string {
  return `${partition} ${offset}`
}
