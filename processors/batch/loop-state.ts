/**
 * The state of the batch loop: its fetch and its commit under way, and how they are paced. One fetch and one commit are under way at a
 * time. Made and used by `batch-loop.ts` only.
 */
import type { FetchedPartition, Fetcher, Membership, Worker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { createOutbox, type Outbox } from '../../runtime/outbox.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { EarlyReleases } from '../early-release.ts'
import type { ProcessingMetrics, Step } from '../metrics.ts'
import { type Outcome, unwrap } from '../outcome.ts'
import type { OvertakenReport } from '../overtaken-report.ts'
import { createRunningClock } from '../running-clock.ts'
import type { ProgressConsumer } from '../watermarks/progress-consumer.ts'
import type { ProgressExchange } from '../watermarks/progress-exchange.ts'
import type { LoopLimits, OpenTask } from './active-batch.ts'
import { createFoldedEvents, type FoldedEvents } from './folded-events.ts'
import { isBacklogged, isConfirmationAwaited, isEndAwaited, poll, pollWaitMs } from './poll.ts'
import type { CurrentModel } from './scoring.ts'
import type { ShadowScoring } from './shadow-scoring.ts'

export interface LoopParts {
  readonly plan: Plan
  readonly worker: Worker
  readonly membership: Membership
  readonly fetcher: Fetcher
  readonly tasks: readonly OpenTask[]
  /** One for each repartition topic that the tasks write or read. */
  readonly exchanges: readonly ProgressExchange[]
  readonly partitionsOf: (topic: string) => number
  readonly currentModel: CurrentModel
  readonly shadowScoring: ShadowScoring
  readonly clock: Clock
  readonly limits: LoopLimits
  readonly metrics: ProcessingMetrics
  readonly earlyReleases: EarlyReleases
  readonly overtakenReport: OvertakenReport
  readonly isStopping: () => boolean
}

export interface LoopState extends LoopParts {
  readonly progressConsumers: readonly ProgressConsumer[]
  readonly outbox: Outbox
  /** Of the task's batch that is being folded, scored and encoded. */
  readonly folded: FoldedEvents
  /** Time for what waits, ms (`running-clock.ts`). */
  readonly runningMs: () => number
  /** Fetches begun. */
  round: number
  /** The fetch that was answered last. */
  answeredRound: number
  /** The fetch under way was begun to confirm how far the other tasks are. */
  isConfirming: boolean
  fetching: Promise<Outcome<FetchedPartition[]>> | null
  committing: Promise<Outcome<void>>
  commitBeganMs: number
  /** When the loop last gave way, ms. */
  stretchBeganMs: number
}

export function openLoop(parts: LoopParts): LoopState {
  return {
    ...parts,
    outbox: createOutbox(),
    runningMs: createRunningClock(parts.clock),
    folded: createFoldedEvents(),
    progressConsumers: parts.exchanges.flatMap(({ progressConsumer }) => progressConsumer ?? []),
    round: 0,
    answeredRound: 0,
    isConfirming: false,
    fetching: null,
    committing: Promise.resolve({ ok: true, value: undefined }),
    commitBeganMs: Number.NEGATIVE_INFINITY,
    stretchBeganMs: parts.clock.elapsedMs(),
  }
}

export function beginFetch(loop: LoopState, maxWaitMs: number): void {
  loop.round++
  loop.fetching = poll(loop, maxWaitMs)
}

/** The answer of the fetch under way, or of a new one once the commit under way has ended and the pace allows it. */
export async function nextFetched(loop: LoopState): Promise<FetchedPartition[]> {
  requireMembership(loop)
  if (!isBacklogged(loop.tasks)) {
    unwrap(await loop.committing)
    await pace(loop)
  }
  if (!loop.fetching) beginFetch(loop, pollWaitMs(loop, loop.answeredRound))
  const fetched = unwrap(await loop.fetching!)
  loop.stretchBeganMs = loop.clock.elapsedMs()
  loop.fetching = null
  // One fetch is under way at a time, so the last one begun is the one that was answered.
  loop.answeredRound = loop.round
  for (const exchange of loop.exchanges) exchange.startRound()
  return fetched
}

function requireMembership({ worker, membership }: LoopState): void {
  if (!worker.isCurrent(membership)) {
    throw new PipelineError('rebalance', 'The consumer group is reassigning its tasks.')
  }
}

async function pace({ clock, limits, commitBeganMs }: LoopState): Promise<void> {
  const restMs = commitBeganMs + limits.commitEveryMs - clock.elapsedMs()
  if (restMs > 0) await clock.sleep(restMs)
}

/** Whether one more fetch comes before the batch is taken: an event has to know that the other inputs and tasks are at their end. */
export function awaitsAnotherFetch(loop: LoopState): boolean {
  const { tasks, runningMs, answeredRound } = loop
  if (isEndAwaited(tasks, runningMs())) return true
  loop.isConfirming = !loop.isConfirming && !isBacklogged(tasks) && isConfirmationAwaited(tasks, answeredRound)
  return loop.isConfirming
}

/** After so much of a batch's work everything else of the process gets its turn: requests, heartbeats, answers, ms. */
const stretchMaxMs = 5

/** Runs a part of a synchronous step, measures it, and gives way where the last turn was long ago. */
export async function worked(loop: LoopState, step: Step, work: () => void): Promise<void> {
  const { clock, metrics } = loop
  metrics.time(step, work)
  const stretchMs = clock.elapsedMs() - loop.stretchBeganMs
  if (stretchMs < stretchMaxMs) return
  metrics.took('stretch', stretchMs)
  await clock.turn()
  loop.stretchBeganMs = clock.elapsedMs()
}

/** Runs an asynchronous step and measures it; one that fails is not measured. */
export async function measured<T>({ clock, metrics }: LoopState, step: Step, work: () => Promise<T>): Promise<T> {
  const began = clock.elapsedMs()
  const result = await work()
  metrics.took(step, clock.elapsedMs() - began)
  return result
}
