/**
 * The trainer's Prometheus metrics: progress of its inputs, rows matured and learnt, outcomes of candidates, quality. Made by the
 * command.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { createEvaluationGauges } from '../evaluation/gauges.ts'
import type { StoreStatus } from '../training-store/store.ts'
import type { ServedEvaluation } from './served-evaluation.ts'

export interface TrainerMetrics {
  status(status: StoreStatus): void
  learnt(rows: number): void
  submitted(isPromoted: boolean): void
  retrained(outcome: 'trained' | 'failed', seconds: number): void
  evaluated(evaluation: ServedEvaluation): void
  rolledBack(accepted: boolean): void
}

export function createTrainerMetrics(registry: Registry): TrainerMetrics {
  const registers = [registry]
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `millrace_trainer_${name}`, help, labelNames, registers })
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: `millrace_trainer_${name}`, help, labelNames, registers })
  const rows = gauge('rows', 'Rows of the training store, waiting for their label or mature.', ['state'])
  const matured = gauge('matured_rows', 'Rows that have matured since the store was made.')
  const watermark = gauge('watermark_seconds', 'Event time that both inputs have passed.')
  const left = gauge('labels_left_out', 'Label records that were left out since the store was made, by reason.', [
    'reason',
  ])
  const learnt = counter('learnt_rows_total', 'Mature rows that the continuous learner has learnt from.')
  const candidates = counter('candidates_total', 'Candidates, by whether they were promoted or rejected.', ['outcome'])
  const rollbacks = counter('rollbacks_total', 'Rollbacks of a champion, by whether the registry accepted them.', [
    'accepted',
  ])
  const seconds = new Histogram({
    name: 'millrace_trainer_retrain_duration_seconds',
    help: 'How long a retraining took.',
    labelNames: ['outcome'],
    buckets: [1, 3, 10, 30, 100, 300, 1_000],
    registers,
  })
  const gauges = createEvaluationGauges(registry)

  return {
    status(status) {
      rows.set({ state: 'waiting' }, status.rows.waiting)
      rows.set({ state: 'matured' }, status.rows.matured)
      matured.set(status.maturedSeq)
      const { rejectedLabels, rejectedValues, labelsAhead } = status.counts
      left.set({ reason: 'invalid' }, rejectedLabels)
      left.set({ reason: 'value' }, rejectedValues)
      left.set({ reason: 'ahead' }, labelsAhead)
      if (Number.isFinite(status.watermarkMs)) watermark.set(status.watermarkMs / 1_000)
    },
    learnt: (count) => learnt.inc(count),
    submitted: (isPromoted) => candidates.inc({ outcome: isPromoted ? 'promoted' : 'rejected' }),
    retrained: (outcome, took) => seconds.observe({ outcome }, took),
    evaluated({ served, shadows }) {
      gauges.show('champion', served)
      const newest = [...shadows.values()].at(-1)
      if (newest) gauges.show('challenger', newest)
    },
    rolledBack: (accepted) => rollbacks.inc({ accepted: String(accepted) }),
  }
}
