/**
 * Step 1 of a batch: one fetch for every input of every task of the process, and for the progress that it only follows. Says as well when
 * there is a backlog and when a batch has to wait for one more fetch. Called by `loop-state.ts`, which begins the fetches of the loop.
 */
import type { FetchedPartition, Fetcher } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { type Outcome, outcomeOf } from '../outcome.ts'
import type { ProgressConsumer } from '../watermarks/progress-consumer.ts'
import type { ProgressExchange } from '../watermarks/progress-exchange.ts'
import type { LoopLimits, OpenTask } from './active-batch.ts'

export interface PollParts {
  readonly fetcher: Fetcher
  readonly tasks: readonly OpenTask[]
  readonly exchanges: readonly ProgressExchange[]
  readonly progressConsumers: readonly ProgressConsumer[]
  readonly clock: Clock
  readonly runningMs: () => number
  readonly limits: Pick<LoopLimits, 'pollMaxMs' | 'partitionBytesMax'>
}

/** `maxWaitMs`: how long the fetch may wait for a first record. Never rejects. */
export function poll(parts: PollParts, maxWaitMs: number): Promise<Outcome<FetchedPartition[]>> {
  const { fetcher, tasks, progressConsumers, clock, limits } = parts
  const nowMs = parts.runningMs()
  const wanted = tasks.flatMap(({ task }) => task.wanted(nowMs))
  // Everything is read far enough ahead: other work of the process gets its turn meanwhile.
  const isReadAhead = tasks.length > 0 && wanted.length === 0
  for (const consumer of progressConsumers) wanted.push(consumer.wanted())
  const waitMs = isReadAhead ? 1 : maxWaitMs
  if (wanted.length > 0) {
    return outcomeOf(fetcher.fetch(wanted, { maxWaitMs: waitMs, partitionBytesMax: limits.partitionBytesMax }))
  }
  return outcomeOf(clock.sleep(isReadAhead ? waitMs : limits.pollMaxMs).then(() => []))
}

/** More can be read at once than one batch takes. */
export function isBacklogged(tasks: readonly OpenTask[]): boolean {
  return tasks.some(({ task }) => task.inputs.some((input) => input.lag > 0))
}

/** Some task waits for no more than news that its inputs are at their end, which a fetch that does not wait brings. */
export function isEndAwaited(tasks: readonly OpenTask[], nowMs: number): boolean {
  return tasks.some(({ task }) => task.isWaitingForEnd(nowMs))
}

/**
 * The first event of some task goes on to the next stage and came with the latest fetch: it waits for one more, which tells how far the
 * other tasks of its stage are.
 */
export function isConfirmationAwaited(tasks: readonly OpenTask[], answeredRound: number): boolean {
  return tasks.some(({ task }) => task.stage.repartitionOut !== null && task.topRound() === answeredRound)
}

/** How long the next fetch may wait: not at all where an event or a report only waits for its answer. */
export function pollWaitMs({ tasks, exchanges, runningMs, limits }: PollParts, answeredRound: number): number {
  const isUrgent =
    tasks.some(({ task }) => task.isRestoring) ||
    isEndAwaited(tasks, runningMs()) ||
    isConfirmationAwaited(tasks, answeredRound) ||
    exchanges.some((exchange) => exchange.isReportPending())
  return isUrgent ? 0 : limits.pollMaxMs
}
