/**
 * The gauges of an evaluation in Prometheus; set by the trainer with each new report. Days are left to the report: they would
 * leave a series behind every day.
 */
import { Gauge, type Registry } from 'prom-client'
import { type EvaluationReport, type EvaluationRole, type QualityMeasure, qualityMeasures } from './report.ts'

export interface EvaluationGauges {
  /** Replaces all that the last report of this role showed. */
  show(role: EvaluationRole, report: EvaluationReport): void
}

const metricOf: Readonly<Record<QualityMeasure, { readonly name: string; readonly help: string }>> = {
  averagePrecision: { name: 'average_precision', help: 'Average precision' },
  auc: { name: 'auc', help: 'Area under the ROC curve' },
  logLoss: { name: 'log_loss', help: 'Log-loss' },
  brier: { name: 'brier', help: 'Brier score' },
  calibrationError: { name: 'calibration_error', help: 'Expected calibration error' },
  precision: { name: 'precision', help: 'Precision at the threshold' },
  recall: { name: 'recall', help: 'Recall at the threshold' },
  f1: { name: 'f1', help: 'F1 at the threshold' },
  precisionAtK: { name: 'precision_at_k', help: 'Precision of the k entities with the highest score a day' },
}

const labelNames = ['role', 'by', 'name'] as const

/** Versions shown; each is a series of every measure. A report may hold more. */
const versionsShownMax = 5

export function createEvaluationGauges(registry: Registry): EvaluationGauges {
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `millrace_model_${name}`, help, labelNames, registers: [registry] })
  const gauges = qualityMeasures.map((measure) => {
    const { name, help } = metricOf[measure]
    return { measure, gauge: gauge(name, `${help}, as served against matured labels.`) }
  })
  const rows = gauge('evaluated_rows', 'Scored events whose label is mature, in each group.')
  const positives = gauge('evaluated_positives', 'Positives among them.')
  const all = [rows, positives, ...gauges.map((one) => one.gauge)]
  const shown = new Map<EvaluationRole, Array<{ role: string; by: string; name: string }>>()

  function show(role: EvaluationRole, { groups }: EvaluationReport): void {
    for (const labels of shown.get(role) ?? []) for (const one of all) one.remove(labels)
    const kept: Array<{ role: string; by: string; name: string }> = []
    shown.set(role, kept)
    let versions = 0
    for (const { by, name, quality } of groups) {
      if (by === 'day' || (by === 'version' && ++versions > versionsShownMax)) continue
      const labels = { role, by, name }
      kept.push(labels)
      rows.set(labels, quality.rows)
      positives.set(labels, quality.positives)
      for (const { measure, gauge } of gauges) {
        const value = quality[measure]
        if (value !== null) gauge.set(labels, value)
      }
    }
  }

  return { show }
}
