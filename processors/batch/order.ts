/**
 * Step 2 of a batch, second half: the events that may be folded, in canonical order, task by task. Called by the batch loop after
 * decoding.
 */
import { storeKeysMax } from '../../feature-store/store.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { ProgressExchange } from '../watermarks/progress-exchange.ts'
import { type ActiveBatch, type LoopLimits, noneOvertaken, noPredictions, type OpenTask } from './active-batch.ts'
import { addEvent, clearEvents } from './events-by-entity.ts'
import type { StageEvent } from './stage-event.ts'
import type { TaskBatch } from './task-contract.ts'

export interface OrderParts {
  readonly tasks: readonly OpenTask[]
  readonly exchanges: readonly ProgressExchange[]
  readonly limits: Pick<LoopLimits, 'batchEventsMax' | 'positionEveryMs'>
}

/** One batch of each task that has something to do. `answered`: number of the fetch that was answered last. */
export function order({ tasks, exchanges, limits }: OrderParts, answeredRound: number, nowMs: number): ActiveBatch[] {
  const readTimes = slowestReadTimes(tasks, nowMs)
  const batches: ActiveBatch[] = []
  for (const open of tasks) {
    const { task } = open
    const maxTime = exchanges.find(({ stage }) => stage === task.stage)?.maxReleaseTime(task) ?? null
    clearEvents(open.byEntity)
    const batch = task.take(nowMs, {
      eventsMax: limits.batchEventsMax,
      admits: (event) => admits(open, event),
      maxReleaseTime: maxTime ?? readTimes.get(task.stage) ?? Number.POSITIVE_INFINITY,
      // What goes on to the next stage waits for one more fetch, which tells how far the other tasks are.
      beforeRound: task.stage.repartitionOut ? answeredRound : Number.POSITIVE_INFINITY,
    })
    const taken = batch ?? movedPosition(open, limits.positionEveryMs, nowMs)
    if (!taken) continue
    open.positionTakenMs = nowMs
    batches.push({
      open,
      batch: taken,
      predictions: noPredictions,
      rejections: [...taken.rejections],
      overtaken: noneOvertaken(),
    })
  }
  return batches
}

/**
 * On a backlog no task goes beyond what every other task of its stage has read: else the next stage would have to hold all that the slow
 * ones have not sent yet. A task that has nothing to read for long, although its inputs have more, is not waited for.
 */
function slowestReadTimes(tasks: readonly OpenTask[], nowMs: number): Map<StagePlan, number> {
  const times = new Map<StagePlan, number>()
  for (const { task } of tasks) {
    const { stage } = task
    if (stage.repartitionOut && task.isReading(nowMs)) {
      times.set(stage, Math.min(times.get(stage) ?? Number.POSITIVE_INFINITY, task.readTime()))
    }
  }
  return times
}

function movedPosition({ task, positionTakenMs }: OpenTask, everyMs: number, nowMs: number): TaskBatch | null {
  return nowMs - positionTakenMs >= everyMs ? task.takePosition() : null
}

function admits({ byEntity, cache, fold }: OpenTask, { key, stream }: StageEvent): boolean {
  return addEvent(byEntity, cache, key !== null && fold.needsLog(stream) ? key : null, storeKeysMax)
}
