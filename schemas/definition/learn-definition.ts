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

export interface Continuously {
  /** Interval at which the weights become a version. */
  readonly publishEvery: Duration
}

/** At least one of `every` and `rows`. */
export interface Retrain {
  /** At intervals of event time, more than 0s. */
  readonly every?: Duration
  /** After so many newly matured rows. */
  readonly rows?: number
  /** On rows not older than this; on all that are kept without it. */
  readonly over?: Duration
}

/** Durations are event time. */
export interface LearnDefinition {
  /** Learn from every label as it matures, and publish the weights at intervals (6h by default). */
  readonly continuously?: boolean | Continuously
  /** Retrain from the log: at an interval, after so many newly matured rows, or both. */
  readonly retrain?: Retrain & ({ readonly every: Duration } | { readonly rows: number })
  /** By default, better by average precision. */
  readonly promoteIf?: Better
}
