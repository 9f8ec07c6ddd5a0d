/**
 * Runs this process's tasks until it is stopped: supervise, session, generation, each inside the one before. A generation is one
 * assignment of tasks by the consumer group and ends when the group rebalances. A session is one producer id and ends with a failure, after
 * which nothing in memory is trusted. The supervision begins a new session until it is stopped or gives up. Called by `millrace run` and
 * `millrace start`.
 */
import type { FeatureStore } from '../feature-store/store.ts'
import type { Broker, Fetcher, StageTopics, Worker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createOutage, processRetry } from '../runtime/retry.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { HashKey } from '../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { OpenTask } from './batch/active-batch.ts'
import { runBatchLoop } from './batch/batch-loop.ts'
import type { CurrentModel } from './batch/scoring.ts'
import { createShadowScoring, type ShadowScoring } from './batch/shadow-scoring.ts'
import type { WarningState } from './counted-warning.ts'
import { createEarlyReleases, type EarlyReleases } from './early-release.ts'
import type { ProcessingMetrics } from './metrics.ts'
import { createOvertakenReport, type OvertakenReport, type OvertakenState } from './overtaken-report.ts'
import { openTasks } from './recovery/open-tasks.ts'
import { isNameFreed } from './recovery/superseded.ts'
import { partitionCountsOf, stageTopicsOf } from './stage-topics.ts'
import { createFrontiersByStage, openExchanges } from './watermarks/open-exchanges.ts'
import type { WorkerLimits } from './worker-limits.ts'

export interface RunWorkerOptions {
  readonly plan: Plan
  readonly broker: Broker
  readonly store: FeatureStore
  readonly clock: Clock
  readonly log: Log
  readonly metrics: ProcessingMetrics
  readonly currentModel: CurrentModel
  /** Consumer group, and prefix of the transactional id. */
  readonly group: string
  /** Stable name of this process within the group. */
  readonly name: string
  readonly limits: WorkerLimits
  /** Of the ids in facts: the pipeline's (`runtime/hash-key-log.ts`). */
  readonly hashKey: HashKey
  readonly isRebuild: boolean
  /** Called whenever tasks are open: no event is fetched until what it gives resolves. */
  readonly beforeFirstFetch?: () => Promise<unknown>
  readonly signal: AbortSignal
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
}

export interface RunningWorker {
  /** Open tasks; ready once none of them is restoring its state. */
  state(): {
    readonly tasks: ReadonlyArray<OpenTask['task']>
    readonly isReady: boolean
    readonly early: WarningState | null
    readonly overtaken: OvertakenState | null
  }
  /** Resolves after a stop, rejects when the worker gave up. */
  readonly done: Promise<void>
}

interface WorkerState {
  readonly options: RunWorkerOptions
  readonly shadowScoring: ShadowScoring
  readonly earlyReleases: EarlyReleases
  readonly overtakenReport: OvertakenReport
  /** Null while no tasks are assigned; a worker without a task of its own has an empty list. */
  tasks: readonly OpenTask[] | null
  /** A rebuild clears the stored state once, not again after a failure or for tasks that are assigned later. */
  isRebuild: boolean
}

/** Sooner than for other loops: a restarted process should take its tasks up at once. */
const pauseMsFirst = 50

export function runWorker(options: RunWorkerOptions): RunningWorker {
  const { plan, log, metrics, clock, isRebuild } = options
  const state: WorkerState = {
    options,
    shadowScoring: createShadowScoring(log, metrics),
    earlyReleases: createEarlyReleases(log, clock.nowMs),
    overtakenReport: createOvertakenReport(plan, log, clock.nowMs),
    tasks: null,
    isRebuild,
  }
  return {
    state: () => ({
      tasks: (state.tasks ?? []).map(({ task }) => task),
      isReady: state.tasks?.every(({ task }) => !task.isRestoring) ?? false,
      early: state.earlyReleases.state(),
      overtaken: state.overtakenReport.state(),
    }),
    done: supervise(state),
  }
}

/** Session after session until the worker is stopped. Throws an error that cannot be retried, or the last one of a long outage. */
async function supervise(state: WorkerState): Promise<void> {
  const { clock, log, limits, metrics, signal, random } = state.options
  const outage = createOutage({
    policy: { ...processRetry, pauseMsFirst, outageMaxMs: limits.outageMaxMs },
    clock,
    random,
    signal,
    isRetriable: (error) => canRetry(state, error),
    onRetry: ({ error, failures, pauseMs }) =>
      log.warn({ code: error.code, failures, pauseMs: Math.round(pauseMs) }, error.message),
  })
  const progress = () => metrics.totals.batches + metrics.totals.restored
  while (!signal.aborted) {
    const before = progress()
    try {
      await runSession(state)
    } catch (error) {
      if (progress() > before) outage.succeeded()
      await outage.failed(error)
    }
  }
}

async function canRetry({ options }: WorkerState, error: PipelineError): Promise<boolean> {
  if (error.retry) return true
  if (error.code !== 'superseded' || options.signal.aborted) return false
  return isNameFreed({ ...options, groups: options.broker.groups, ...options.limits })
}

/** One producer id: generation after generation, until the broker or the store fences the worker or anything else fails. */
async function runSession(state: WorkerState): Promise<void> {
  const { plan, broker, group, name, limits, log, signal } = state.options
  const { sessionTimeoutMs, transactionTimeoutMs } = limits
  const stages = stageTopicsOf(plan, await partitionCountsOf(plan, broker.data))
  const worker = await broker.groups.worker({ group, worker: name, stages, sessionTimeoutMs, transactionTimeoutMs })
  try {
    const fetcher = await broker.data.fetcher()
    try {
      while (!signal.aborted) await runGeneration(state, worker, fetcher, stages)
    } finally {
      await fetcher.close()
    }
  } finally {
    state.tasks = null
    if (signal.aborted) await leaveGroup(worker, log)
    await worker.close()
  }
}

/** After a planned stop other processes get the tasks at once. A process that fails stays a member until its restart or timeout. */
async function leaveGroup(worker: Worker, log: Log): Promise<void> {
  try {
    await worker.leave()
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    log.warn({ code: error.code }, `Could not leave the consumer group: ${error.message}`)
  }
}

/** One assignment of tasks: opens them and runs the batch loop until the group rebalances. */
async function runGeneration(
  state: WorkerState,
  worker: Worker,
  fetcher: Fetcher,
  stages: readonly StageTopics[],
): Promise<void> {
  const { options, shadowScoring, earlyReleases, overtakenReport, isRebuild } = state
  const { plan, broker, log, signal } = options
  try {
    const membership = await worker.join()
    const frontiersByStage = createFrontiersByStage(plan, stages)
    const tasks = await openTasks({ ...options, worker, membership, stages, frontiersByStage, isRebuild })
    state.tasks = tasks
    const partitionsOf = await partitionCountsOf(plan, broker.data)
    const exchanges = await openExchanges({
      plan,
      broker: broker.data,
      tasks: tasks.map(({ task }) => task),
      frontiersByStage,
      partitionsOf,
      heldMax: options.limits.heldMax,
    })
    state.isRebuild = false
    log.info({ tasks: membership.tasks.length, generation: membership.generation }, 'tasks opened')
    await options.beforeFirstFetch?.()
    const isStopping = () => signal.aborted
    const parts = {
      worker,
      membership,
      fetcher,
      tasks,
      exchanges,
      partitionsOf,
      shadowScoring,
      earlyReleases,
      overtakenReport,
      isStopping,
    }
    await runBatchLoop({ ...options, ...parts })
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'rebalance') throw error
    log.info({}, error.message)
  } finally {
    state.tasks = null
  }
}
