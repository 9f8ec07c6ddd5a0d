/** The figures by which model versions are compared. Called by definitions, the evaluation and the trainer. */

export const qualityMetrics = ['averagePrecision', 'auc', 'logLoss', 'brier'] as const
export type QualityMetric = (typeof qualityMetrics)[number]
