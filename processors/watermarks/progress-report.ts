/**
 * When a task reports its progress to the next stage, and what it reports: its watermark, and whether it is idle. One reporter exists per
 * open task; the progress exchange calls it with every batch and sends the report after the events of the transaction.
 *
 * All tasks of a stage report behind the events of any of them, because those events wait in the next stage until the others are known to
 * have nothing earlier. Otherwise a task reports when its watermark has moved without an event of its own, when a process has requested
 * progress, and when it is idle and its idle report would cover more than the one before.
 */
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { SourceProgress } from '../../schemas/wire/records.ts'
import { earlierOf, type Frontier, initialFrontier } from './frontier.ts'
import type { ReportingTask } from './progress-task.ts'
import type { ObservedProgress } from './source-frontiers.ts'

export interface BatchContext {
  /** Tasks of the stage send events in this transaction. */
  readonly isSending: boolean
  /** The fetch that returned last. */
  readonly answeredRound: number
}

export interface ReportContext extends BatchContext {
  /** What this process had observed before that fetch. */
  readonly observed: ObservedProgress
}

/** What a task has reported last. */
export interface ProgressReporter {
  frontier: Frontier
  requests: number
  /** Null: the last report was not an idle one. */
  idle: IdleReport | null
}

interface IdleReport {
  readonly observed: readonly Frontier[]
  /** The task holds an event beyond it; null where it holds none. */
  readonly idleUpTo: Frontier | null
}

export function createProgressReporter(): ProgressReporter {
  return { frontier: initialFrontier, requests: 0, idle: null }
}

export function isReportDue(reporter: ProgressReporter, task: ReportingTask, context: ReportContext): boolean {
  if (context.isSending || context.observed.requests > reporter.requests) return true
  if (compareCanonical(task.watermark(), reporter.frontier) > 0) return true
  return isIdle(task, context) && coversMore(reporter, task, context.observed)
}

/** One more fetch that finds the task at its end will make a report due. `observed`: what was observed before that fetch. */
export function isReportPending(reporter: ProgressReporter, task: ReportingTask, observed: ObservedProgress): boolean {
  return task.isAtEnd() && coversMore(reporter, task, observed)
}

export function report(reporter: ProgressReporter, task: ReportingTask, context: ReportContext): SourceProgress {
  const { partition: source, retentionWatermark } = task
  reporter.frontier = task.watermark()
  reporter.requests = context.observed.requests
  reporter.idle = isIdle(task, context) ? { observed: context.observed.frontiers, idleUpTo: task.idleUpTo() } : null
  const { time: watermark, order } = reporter.frontier
  const idle = reporter.idle !== null
  return { source, watermark, order, retentionWatermark, idle, idleUpTo: reporter.idle?.idleUpTo ?? null }
}

/** The latest fetch has found it at its end, so it has read all that precedes what was observed before that fetch. */
function isIdle(task: ReportingTask, { answeredRound }: BatchContext): boolean {
  return task.isAtEnd() && task.endRound() === answeredRound
}

/** An idle report made now would answer a request, or cover more than the last one: of some source, or without a limit. */
function coversMore(
  { idle: last, requests }: ProgressReporter,
  task: ReportingTask,
  observed: ObservedProgress,
): boolean {
  const idle: IdleReport = { observed: observed.frontiers, idleUpTo: task.idleUpTo() }
  if (observed.requests > requests || (idle.idleUpTo === null && last?.idleUpTo !== null)) return true
  return observed.frontiers.some(
    (_, source) => compareCanonical(coverageOf(idle, source), coverageOf(last, source)) > 0,
  )
}

/** Events of the source at or before it are covered. */
function coverageOf(idle: IdleReport | null, source: number): Frontier {
  const observed = idle?.observed[source] ?? initialFrontier
  return idle?.idleUpTo ? earlierOf(idle.idleUpTo, observed) : observed
}
