/** How the model learns, as part of the plan. Read by the trainer. */
import type { QualityMetric } from '../models/quality-metrics.ts'

/** Times are event time. */
export interface LearnPlan {
  /** Interval at which the weights of a continuous learner become a version; null without such a learner. */
  readonly continuous: { readonly publishEveryMs: number } | null
  /** A full training from the log; null where only a command starts one. At least one of `everyMs` and `rows` is set. */
  readonly retrain: RetrainPlan | null
  readonly promoteIf: { readonly metric: QualityMetric }
}

export interface RetrainPlan {
  readonly everyMs: number | null
  /** After this many newly matured rows. */
  readonly rows: number | null
  /** Trained on what is not older than this; null for all that is kept. */
  readonly overMs: number | null
}
