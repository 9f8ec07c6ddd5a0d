/** How a definition's model learns: plain frozen values like all of a definition, checked by `compile`. */
import type { Duration } from '../kernel/duration.ts'
import type { QualityMetric } from '../models/quality-metrics.ts'

export interface Better {
  readonly kind: 'better'
  readonly metric: QualityMetric
}

/** A new version is promoted where it is better than the champion by this metric, on events that neither was trained on. */
export function better(metric: QualityMetric): Better {
  return Object.freeze({ kind: 'better', metric })
}

/** Durations are event time. */
export interface LearnDefinition {
  /** Learn from every label as it matures, and publish the weights at intervals (6h by default). */
  readonly continuously?: boolean | { readonly publishEvery: Duration }
  /**
   * Retrain from the log: at an interval, after so many newly matured rows, or both; on all rows kept, or on those not older than `over`.
   */
  readonly retrain?: { readonly every?: Duration; readonly rows?: number; readonly over?: Duration }
  /** By default, better by average precision. */
  readonly promoteIf?: Better
}
