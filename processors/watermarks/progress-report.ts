/**
 * When a task reports its progress to the next stage, and what it reports: its watermark, and whether it is idle. One reporter exists per
 * open task; the progress exchange calls it with every batch and sends the report after the events of the transaction.
 *
 * All tasks of a stage report behind the events of any of them, because those events wait in the next stage until the others are known to
 * have nothing earlier. Otherwise a task reports when its watermark has moved without an event of its own, when a process has requested
 * progress, and when it is idle and its idle report would cover more than the one before.
 *
 * A task that is busy is never idle, yet what waits for it must not wait for ever. So it notes what it has observed and where its inputs
 * end, and reports that it has *caught up* once it has sent everything up to there. Until then it says at intervals that it is *advancing*,
 * while it restores its state, too.
 */
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { SourceProgress } from '../../schemas/wire/records.ts'
import { earlierOf, type Frontier, initialFrontier, laterOf } from './frontier.ts'
import type { ReportingTask } from './progress-task.ts'
import type { ObservedProgress } from './source-frontiers.ts'

export interface BatchContext {
  /** Tasks of the stage send events in this transaction. */
  readonly isSending: boolean
  /** The fetch that returned last. */
  readonly answeredRound: number
  readonly nowMs: number
  /** A task that advances without anything else to report says so this often. */
  readonly advancingEveryMs: number
}

/** Of one task. */
export interface ReportContext extends BatchContext {
  /** When the task, or one that it waits for, last came nearer to its end, ms. */
  readonly progressAtMs: number
  /** What this process had observed before that fetch. */
  readonly observed: ObservedProgress
}

/** What a task has reported last. */
export interface ProgressReporter {
  frontier: Frontier
  requests: number
  /** Null: the last report was not an idle one. */
  idle: IdleReport | null
  /** What the task had observed before the fetch that it is catching up to; null where it is not. */
  catchingUpTo: readonly Frontier[] | null
  /** What it has reported as caught up with. */
  caughtUpTo: readonly Frontier[]
  catchUpStartedMs: number
  reportedAtMs: number
}

interface IdleReport {
  readonly observed: readonly Frontier[]
  /** The task holds an event beyond it; null where it holds none. */
  readonly idleUpTo: Frontier | null
}

export function createProgressReporter(): ProgressReporter {
  return {
    frontier: initialFrontier,
    requests: 0,
    idle: null,
    catchingUpTo: null,
    caughtUpTo: [],
    catchUpStartedMs: Number.NEGATIVE_INFINITY,
    reportedAtMs: Number.NEGATIVE_INFINITY,
  }
}

/** Least time between reports that nobody waits for as a rule. */
const reportsApartMs = 100

/**
 * A busy task that has observed something beyond its watermark begins to catch up with it. Called with every batch, before `isReportDue`.
 * `sources`: how many of the frontiers are of tasks.
 */
export function startCatchUp(
  reporter: ProgressReporter,
  task: ReportingTask,
  { observed, answeredRound, nowMs }: ReportContext,
  sources: number,
): void {
  const { catchingUpTo, caughtUpTo, catchUpStartedMs } = reporter
  if (catchingUpTo !== null || nowMs - catchUpStartedMs < reportsApartMs || isIdle(task, { answeredRound })) return
  const watermark = task.watermark()
  const isBeyond = observed.frontiers.some((frontier, source) => {
    const isKnown = source < sources && compareCanonical(frontier, watermark) <= 0
    return !isKnown && compareCanonical(frontier, caughtUpTo[source] ?? initialFrontier) > 0
  })
  if (!isBeyond) return
  reporter.catchingUpTo = observed.frontiers
  reporter.catchUpStartedMs = nowMs
  task.startCatchUp(answeredRound)
}

/** What the task has caught up with and has not reported yet; null where there is nothing new. */
export function takeCaughtUp(reporter: ProgressReporter, task: ReportingTask): readonly Frontier[] | null {
  const { catchingUpTo } = reporter
  if (catchingUpTo === null || !task.hasCaughtUp()) return null
  reporter.catchingUpTo = null
  reporter.caughtUpTo = catchingUpTo
  return catchingUpTo
}

export function isReportDue(reporter: ProgressReporter, task: ReportingTask, context: ReportContext): boolean {
  if (isAdvanceDue(reporter, context)) return true
  if (task.isRestoring) return false
  if (context.isSending || context.observed.requests > reporter.requests) return true
  if (compareCanonical(task.watermark(), reporter.frontier) > 0 || isHeldBackDue(reporter, task, context)) return true
  // Of an idle task, that it has caught up goes with its next report: the idle one says as much for now.
  if (!isIdle(task, context)) return reporter.catchingUpTo !== null && task.hasCaughtUp()
  return coversMore(reporter, task, context.observed)
}

/** What is held back moves with the tasks that it waits for: to report it at once every time would be too much. */
function isHeldBackDue(
  { frontier, reportedAtMs }: ProgressReporter,
  task: ReportingTask,
  { nowMs }: ReportContext,
): boolean {
  return nowMs - reportedAtMs >= reportsApartMs && compareCanonical(task.heldBackAt, frontier) > 0
}

function isAdvanceDue(
  { reportedAtMs }: ProgressReporter,
  { nowMs, advancingEveryMs, progressAtMs }: ReportContext,
): boolean {
  return nowMs - reportedAtMs >= advancingEveryMs && progressAtMs > reportedAtMs
}

/** One more fetch that finds the task at its end will make a report due. `observed`: what was observed before that fetch. */
export function isReportPending(reporter: ProgressReporter, task: ReportingTask, observed: ObservedProgress): boolean {
  return task.isAtEnd() && coversMore(reporter, task, observed)
}

export function report(reporter: ProgressReporter, task: ReportingTask, context: ReportContext): SourceProgress {
  const { partition: source, retentionWatermark } = task
  reporter.frontier = laterOf(task.watermark(), task.heldBackAt)
  reporter.requests = context.observed.requests
  reporter.idle = isIdle(task, context) ? { observed: context.observed.frontiers, idleUpTo: task.idleUpTo() } : null
  const { time: watermark, order } = reporter.frontier
  const idle = reporter.idle !== null
  const advancing = context.progressAtMs > reporter.reportedAtMs
  reporter.reportedAtMs = context.nowMs
  const idleUpTo = reporter.idle?.idleUpTo ?? null
  return { source, watermark, order, retentionWatermark, idle, idleUpTo, caughtUp: false, advancing }
}

/** The latest fetch has found it at its end, so it has read all that precedes what was observed before that fetch. */
function isIdle(task: ReportingTask, { answeredRound }: Pick<BatchContext, 'answeredRound'>): boolean {
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
