/**
 * When the trainer publishes its learner's weights and when it retrains, in event time. Called by steps 1 to 4 of the trainer. Pure; its
 * state is saved in the training store, so that a restart neither repeats nor forgets what was due.
 */
import type { LearnPlan, RetrainPlan } from '../../schemas/plan/learn-plan.ts'

export interface Schedule {
  /** Event time of the newest row learnt from when weights were last published, ms; before that of the first row, null without one. */
  readonly publishedMs: number | null
  /**
   * Event time and rows up to which the set had matured at the last retraining, regardless of its outcome; before that at the first row.
   */
  readonly retrainedMs: number | null
  readonly retrainedRows: number
  /**
   * Fingerprint of the definition that the last retraining was for; where none was yet, of the first that was scheduled. Absent as saved by
   * earlier versions of Millrace.
   */
  readonly definition?: string
}

export const nothingScheduled: Schedule = { publishedMs: null, retrainedMs: null, retrainedRows: 0 }

/** How far the training set has matured. */
export interface Matured {
  /** Event time up to which events are mature, ms; −∞ before any is. */
  readonly untilMs: number
  /** Rows that have matured since the store was made. */
  readonly rows: number
}

/** Both cadences start with the first row: the schedule with what that sets, or the same value where it sets nothing. */
export function begun(schedule: Schedule, { untilMs, rows }: Matured, learntMs: number | null): Schedule {
  const retrainedMs = schedule.retrainedMs ?? (rows > 0 && Number.isFinite(untilMs) ? untilMs : null)
  const publishedMs = schedule.publishedMs ?? learntMs
  if (publishedMs === schedule.publishedMs && retrainedMs === schedule.retrainedMs) return schedule
  return { ...schedule, publishedMs, retrainedMs }
}

/** Event time at which the next version is due, ms; `firstMs` is that of the first row, where nothing was published yet. */
export function publishFrom(learn: LearnPlan['continuous'], { publishedMs }: Schedule, firstMs: number): number {
  return learn === null ? Number.POSITIVE_INFINITY : (publishedMs ?? firstMs) + learn.publishEveryMs
}

/** The reason why a retraining is due; null where none is. */
export function retrainDue(plan: RetrainPlan | null, schedule: Schedule, matured: Matured): string | null {
  if (plan === null || schedule.retrainedMs === null) return null
  const { everyMs, rows } = plan
  const elapsedMs = matured.untilMs - schedule.retrainedMs
  if (everyMs !== null && elapsedMs >= everyMs)
    return `${days(elapsedMs)} days of events have matured since the last one`
  const newRows = matured.rows - schedule.retrainedRows
  if (rows !== null && newRows >= rows) return `${newRows} rows have matured since the last one`
  return null
}

export function retrained(schedule: Schedule, matured: Matured, definition: string): Schedule {
  return { ...schedule, retrainedMs: matured.untilMs, retrainedRows: matured.rows, definition }
}

function days(ms: number): string {
  return String(Math.round((ms / 86_400_000) * 10) / 10)
}
