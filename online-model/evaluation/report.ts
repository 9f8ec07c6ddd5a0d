/** What an evaluation reports, plain JSON with bounds on everything; made by `evaluate.ts`, shown by gauges, tables and pages. */

/** Measures of one group of rows; null where the rows do not allow one (one class only, nothing flagged). */
export interface Quality {
  readonly rows: number
  readonly positives: number
  readonly averagePrecision: number | null
  readonly auc: number | null
  readonly logLoss: number | null
  readonly brier: number | null
  readonly calibrationError: number | null
  /** At the report's threshold. */
  readonly precision: number | null
  readonly recall: number | null
  readonly f1: number | null
  /** Mean over days; null also where a group is no whole of an entity's day (slices, label delays). */
  readonly precisionAtK: number | null
}

/** Scores as they were served, or as challengers gave them in the shadow. */
export type EvaluationRole = 'champion' | 'challenger'

export const qualityMeasures = [
  'averagePrecision',
  'auc',
  'logLoss',
  'brier',
  'calibrationError',
  'precision',
  'recall',
  'f1',
  'precisionAtK',
] as const satisfies readonly (keyof Quality)[]

export type QualityMeasure = (typeof qualityMeasures)[number]

/**
 * `all` rows; `rolling`: the last days of event time; `promotion`: what the champion scored since it was promoted; `version`, `day`,
 * `slice` and `delay`: one group for each.
 */
export const groupKinds = ['all', 'rolling', 'promotion', 'version', 'day', 'slice', 'delay'] as const
export type GroupKind = (typeof groupKinds)[number]

export interface QualityGroup {
  readonly by: GroupKind
  /** Unique among those of its kind: a version, a day such as 2018-08-14, a bucket such as `amount 10..50`; empty for `all`. */
  readonly name: string
  /** Least and greatest event time of its rows, ms; null without rows. */
  readonly fromMs: number | null
  readonly untilMs: number | null
  readonly quality: Quality
}

export interface EvaluationReport {
  readonly threshold: number
  readonly k: number
  readonly calibrationBins: number
  readonly rollingMs: number
  readonly groups: readonly QualityGroup[]
  /** Groups that the bounds left out, by kind: the oldest days and versions. */
  readonly leftOut: { readonly versions: number; readonly days: number }
}

/** Cells for a terminal, head first: one line per group of the requested kinds, in the report's order. */
export function reportCells(report: EvaluationReport, kinds: readonly GroupKind[] = groupKinds): string[][] {
  const head = ['by', 'name', 'rows', 'positives', 'AP', 'AUC', 'log-loss', 'Brier', 'ECE']
  const atThreshold = ['precision', 'recall', 'F1'].map((name) => `${name}@${report.threshold}`)
  const lines = report.groups
    .filter(({ by }) => kinds.includes(by))
    .map(({ by, name, quality }) => [
      by,
      name,
      String(quality.rows),
      String(quality.positives),
      ...qualityMeasures.map((measure) => shownMeasure(quality[measure])),
    ])
  return [[...head, ...atThreshold, `P@${report.k}`], ...lines]
}

export function shownMeasure(value: number | null): string {
  return value === null ? '-' : value.toFixed(4)
}
