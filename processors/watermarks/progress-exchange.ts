/**
 * The progress that this process reports on one repartition topic: the watermarks of its tasks that write to the topic, how far its tasks
 * that read the topic have read raw topics beside it, and one request for the reports of other processes. Created when the tasks are
 * opened; the batch loop takes the update that is due with each transaction and sends it after the events.
 */
import type { OutRecord } from '../../runtime/broker.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { SourceProgress, WatermarkRecord } from '../../schemas/wire/records.ts'
import { type Frontier, laterOf } from './frontier.ts'
import type { ProgressConsumer } from './progress-consumer.ts'
import {
  type BatchContext,
  createProgressReporter,
  isReportDue,
  isReportPending,
  type ProgressReporter,
  report,
  startCatchUp,
  takeCaughtUp,
} from './progress-report.ts'
import type { ReadingTask, WritingTask } from './progress-task.ts'
import { rawProgressOf, unreportedReaders } from './raw-progress.ts'
import type { ObservedProgress, SourceFrontiers } from './source-frontiers.ts'
import { watermarkRecords } from './watermark-records.ts'

export type { BatchContext } from './progress-report.ts'

export interface ProgressExchangeOptions {
  /** The stage that writes to the topic. */
  readonly stage: StagePlan
  /** Tasks of this process: those that write to the topic, and those that read it. */
  readonly tasks: readonly WritingTask[]
  readonly readers: readonly ReadingTask[]
  /** Partitions of the topic. */
  readonly partitions: number
  readonly sourceFrontiers: SourceFrontiers
  /** Readers that hold more slow down the tasks that are ahead of them. */
  readonly readersHeldMax: number
  /** Where there are tasks, but no readers. */
  readonly progressConsumer: ProgressConsumer | null
}

/** What is reported in one transaction. */
export interface ProgressUpdate {
  readonly tasks: readonly WritingTask[]
  readonly readers: readonly ReadingTask[]
  readonly requestsProgress: boolean
}

export interface ProgressExchange {
  readonly stage: StagePlan
  readonly progressConsumer: ProgressConsumer | null
  /** A fetch has returned; called before any of its records is read. */
  startRound(): void
  /** Null: there is nothing to report. */
  dueUpdate(context: BatchContext): ProgressUpdate | null
  /** One more fetch will make a report due. */
  isReportPending(): boolean
  report(update: ProgressUpdate, context: BatchContext): OutRecord[]
  /**
   * Event time beyond which the task does not release events for now, because readers hold more than `readersHeldMax` events while they
   * wait for a slower source; infinity for a task that may itself be that source and must continue. Null: readers hold few events.
   */
  maxReleaseTime(task: Pick<WritingTask, 'frontier'>): number | null
}

interface ExchangeState extends ProgressExchangeOptions {
  readonly reporters: ReadonlyMap<WritingTask, ProgressReporter>
  /** All tasks that write to the topic are of this process. */
  readonly isAlone: boolean
  hasRequestedProgress: boolean
}

export function createProgressExchange(options: ProgressExchangeOptions): ProgressExchange {
  const { stage, tasks, sourceFrontiers, progressConsumer } = options
  const isAlone = new Set(tasks.map(({ partition }) => partition)).size === sourceFrontiers.sources
  const state: ExchangeState = {
    ...options,
    reporters: new Map(tasks.map((task) => [task, createProgressReporter()])),
    isAlone,
    // A process that begins to read has missed earlier idle reports of the others.
    hasRequestedProgress: isAlone,
  }
  return {
    stage,
    progressConsumer,
    startRound: sourceFrontiers.startRound,
    dueUpdate: (context) => dueUpdate(state, context),
    isReportPending() {
      const observed = withOwnWatermarks(state, sourceFrontiers.beforeNextFetch)
      return tasks.some((task) => isReportPending(reporterOf(state, task), task, observed))
    },
    report: (update, context) => reportUpdate(state, update, context),
    maxReleaseTime: (task) => maxReleaseTime(state, task),
  }
}

function dueUpdate(state: ExchangeState, batch: BatchContext): ProgressUpdate | null {
  const { readers, sourceFrontiers, isAlone } = state
  const observed = withOwnWatermarks(state, sourceFrontiers.beforeFetch)
  const tasks = state.tasks.filter((task) => {
    const context = { ...batch, observed, progressAtMs: progressAtMs(state, task, batch.nowMs) }
    if (!task.isRestoring) startCatchUp(reporterOf(state, task), task, context, sourceFrontiers.sources)
    return isReportDue(reporterOf(state, task), task, context)
  })
  const unreported = unreportedReaders(readers, sourceFrontiers)
  // The request is sent along with the first report, where this process has tasks that report.
  const requestsProgress = !state.hasRequestedProgress && (tasks.length > 0 || state.tasks.length === 0)
  // Tasks of this process observe it without a record.
  for (const reader of unreported) {
    for (const { source, watermark, order } of rawProgressOf(reader, sourceFrontiers.sources))
      sourceFrontiers.observe(source, { time: watermark, order })
  }
  const reporting = isAlone ? [] : unreported
  if (tasks.length === 0 && reporting.length === 0 && !requestsProgress) return null
  return { tasks, readers: reporting, requestsProgress }
}

function reportUpdate(
  state: ExchangeState,
  { tasks, readers, requestsProgress }: ProgressUpdate,
  batch: BatchContext,
): OutRecord[] {
  const { frontiers, requests } = withOwnWatermarks(state, state.sourceFrontiers.beforeFetch)
  const reports = tasks.map((task) => {
    const progress = progressAtMs(state, task, batch.nowMs)
    return report(reporterOf(state, task), task, {
      ...batch,
      observed: { frontiers, requests },
      progressAtMs: progress,
    })
  })
  const raw = readers.flatMap((reader) => rawProgressOf(reader, state.sourceFrontiers.sources))
  const sources: SourceProgress[] = [...reports, ...raw]
  const observed = reports.some(({ idle }) => idle) ? frontiers : []
  state.hasRequestedProgress ||= requestsProgress
  const records: WatermarkRecord[] = [
    ...caughtUpRecords(state, tasks, reports),
    { kind: 'watermark', sources, observed, requestsProgress },
  ]
  return records.flatMap((record) => watermarkRecords(state.stage.repartitionOut!, record, state.partitions))
}

/** One for each task that has caught up: every task has observed something of its own when it began to. */
function caughtUpRecords(
  state: ExchangeState,
  tasks: readonly WritingTask[],
  reports: readonly SourceProgress[],
): WatermarkRecord[] {
  return tasks.flatMap((task, i): WatermarkRecord[] => {
    const observed = takeCaughtUp(reporterOf(state, task), task)
    if (observed === null) return []
    const source = { ...reports[i]!, idle: false, idleUpTo: null, caughtUp: true }
    return [{ kind: 'watermark', sources: [source], observed, requestsProgress: false }]
  })
}

function fullReaders({ readers, readersHeldMax }: ExchangeState): readonly ReadingTask[] {
  return readers.filter(({ held }) => held > readersHeldMax)
}

function maxReleaseTime(state: ExchangeState, task: Pick<WritingTask, 'frontier'>): number | null {
  const full = fullReaders(state)
  if (full.length === 0) return null
  const time = Math.min(...full.map((reader) => reader.topTime()))
  return task.frontier.time > time ? time : Number.POSITIVE_INFINITY
}

/**
 * A task that is held back (`order.ts`) comes nearer with those that it is held back for: another of its stage that has not read as far, or
 * readers that hold too much.
 */
function progressAtMs(state: ExchangeState, task: WritingTask, nowMs: number): number {
  const topTime = task.topTime()
  const slowest = state.tasks.reduce((least, other) => (other.readTime() < least.readTime() ? other : least))
  const isHeldBack = Number.isFinite(topTime) && topTime > slowest.readTime()
  const maxTime = maxReleaseTime(state, task)
  const waitsForReaders = maxTime !== null && Number.isFinite(topTime) && topTime > maxTime
  return Math.max(
    task.progressAtMs(nowMs),
    isHeldBack ? slowest.progressAtMs(nowMs) : Number.NEGATIVE_INFINITY,
    ...(waitsForReaders ? fullReaders(state).map((reader) => reader.progressAtMs(nowMs)) : []),
  )
}

/**
 * An idle task of this process covers what the other tasks of the process have released: they share its fetches, and nothing of the latest
 * one was released yet.
 */
function withOwnWatermarks({ tasks }: ExchangeState, { frontiers, requests }: ObservedProgress): ObservedProgress {
  const all: Frontier[] = [...frontiers]
  for (const task of tasks) all[task.partition] = laterOf(all[task.partition]!, task.watermark())
  return { frontiers: all, requests }
}

function reporterOf({ reporters }: ExchangeState, task: WritingTask): ProgressReporter {
  return reporters.get(task)!
}
