/**
 * Follows the committed predictions through outages of Kafka: how many came, and when from which task. Used by `restart.ts`
 * and by the tests with faults on real processes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerData, FetchFrom, Task } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'

export interface PredictionWatch {
  readonly count: number
  /**
   * When (ms since 1970) the first prediction was received that one of these tasks of the last stage made and Kafka appended at or after
   * the instant; null when none came in time.
   */
  firstOf(tasks: readonly Task[], sinceMs: number, waitMaxMs: number): Promise<number | null>
  /** Rejects with what ended it; resolves after `close`. */
  readonly ended: Promise<void>
  close(): Promise<void>
}

interface Waiting {
  readonly tasks: readonly Task[]
  readonly sinceMs: number
  readonly found: (receivedMs: number) => void
}

const limits = { maxWaitMs: 50, partitionBytesMax: 1_048_576 }
const retryMs = 100

export function watchPredictions(broker: BrokerData, plan: Plan, partitions: number): PredictionWatch {
  const { topic, codec } = plan.predictions
  let positions: FetchFrom[] = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: 0 }))
  const waiting = new Set<Waiting>()
  let count = 0
  let isClosed = false

  async function followOnce(): Promise<void> {
    const fetcher = await broker.fetcher()
    try {
      while (!isClosed) {
        const fetched = await fetcher.fetch(positions, limits)
        const receivedMs = Date.now()
        for (const { records } of fetched) {
          for (const { value, appendedAtMs } of records) {
            count++
            if (waiting.size > 0) match(value!, appendedAtMs, receivedMs)
          }
        }
        positions = fetched.map(({ partition, next }) => ({ topic, partition, offset: next }))
      }
    } finally {
      await fetcher.close()
    }
  }

  function match(value: Buffer, appendedAtMs: number, receivedMs: number): void {
    const { stage, partition } = codec.decode(value).positions.at(-1)!
    for (const one of waiting) {
      if (appendedAtMs < one.sinceMs) continue
      if (one.tasks.some((task) => task.stage === stage && task.partition === partition)) one.found(receivedMs)
    }
  }

  async function follow(): Promise<void> {
    while (!isClosed) {
      try {
        await followOnce()
      } catch (error) {
        // Kafka is killed now and then; all else ends the run.
        if (!(error instanceof PipelineError) || !error.retry) throw error
        await sleep(retryMs)
      }
    }
  }

  const ended = follow()
  // The failure reaches the caller that awaits `ended`; until then it must not be an unhandled rejection.
  ended.catch(() => undefined)
  return {
    get count() {
      return count
    },
    firstOf: (tasks, sinceMs, waitMaxMs) => firstOf(waiting, tasks, sinceMs, waitMaxMs),
    ended,
    close() {
      isClosed = true
      return ended
    },
  }
}

function firstOf(
  waiting: Set<Waiting>,
  tasks: readonly Task[],
  sinceMs: number,
  waitMaxMs: number,
): Promise<number | null> {
  return new Promise((resolve) => {
    const answer = (receivedMs: number | null) => {
      clearTimeout(timer)
      waiting.delete(one)
      resolve(receivedMs)
    }
    const one: Waiting = { tasks, sinceMs, found: answer }
    const timer = setTimeout(() => answer(null), waitMaxMs)
    waiting.add(one)
  })
}
