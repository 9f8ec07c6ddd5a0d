/**
 * When the trainer publishes what it has learnt and when it trains anew, in event time. Pure; its state is saved with the learner's, so
 * that a restart neither repeats nor forgets what was due.
 */
import type { LearnPlan, RetrainPlan } from '../../schemas/plan/model-plan.ts'

export interface Schedule {
  /** Event time of the learner's newest row when its weights were last published, ms; of its first row before that, null without one. */
  readonly publishedMs: number | null
  /** Event time and rows that were mature at the last retraining, whatever came of it; of the first mature row before that. */
  readonly retrainedMs: number | null
  readonly retrainedRows: number
}

export const nothingScheduled: Schedule = { publishedMs: null, retrainedMs: null, retrainedRows: 0 }

/** How far the training set has come. */
export interface Matured {
  /** Event time up to which events are mature, ms; −∞ before any is. */
  readonly untilMs: number
  /** Rows that ever matured. */
  readonly rows: number
}

/** Time begins to run with the first row. */
export function begun(schedule: Schedule, { untilMs, rows }: Matured, learntMs: number | null): Schedule {
  const retrainedMs = schedule.retrainedMs ?? (rows > 0 && Number.isFinite(untilMs) ? untilMs : null)
  const publishedMs = schedule.publishedMs ?? learntMs
  if (publishedMs === schedule.publishedMs && retrainedMs === schedule.retrainedMs) return schedule
  return { ...schedule, publishedMs, retrainedMs }
}

/** Event time from which on what was learnt is published, ms; `firstMs` is that of the first row, if nothing was published yet. */
export function publishFrom(learn: LearnPlan['continuous'], { publishedMs }: Schedule, firstMs: number): number {
  return learn === null ? Number.POSITIVE_INFINITY : (publishedMs ?? firstMs) + learn.publishEveryMs
}

export function retrainDue(plan: RetrainPlan | null, schedule: Schedule, matured: Matured): string | null {
  if (plan === null || schedule.retrainedMs === null) return null
  const { everyMs, rows } = plan
  const passedMs = matured.untilMs - schedule.retrainedMs
  if (everyMs !== null && passedMs >= everyMs) return `${days(passedMs)} days of events have matured since the last one`
  const came = matured.rows - schedule.retrainedRows
  if (rows !== null && came >= rows) return `${came} rows have matured since the last one`
  return null
}

export function retrained(schedule: Schedule, matured: Matured): Schedule {
  return { ...schedule, retrainedMs: matured.untilMs, retrainedRows: matured.rows }
}

function days(ms: number): string {
  return String(Math.round((ms / 86_400_000) * 10) / 10)
}
