/**
 * Tells about predictions that were made before a fact of their windows arrived: what each committed batch has counted comes in, a sentence
 * in the log and the reason why the process is degraded come out. Created by the worker.
 */
import type { Log } from '../runtime/log.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { OvertakenByBatch } from './batch/active-batch.ts'
import type { Task } from './batch/task.ts'
import { createCountedWarning } from './counted-warning.ts'

export interface OvertakenReport {
  /** Called once the task's batch is committed, where it came upon such predictions. */
  observe(task: Pick<Task, 'stage' | 'partition'>, overtaken: OvertakenByBatch): void
  /** Null where there were none. */
  state(): OvertakenState | null
}

export interface OvertakenState {
  /** How many, since the process began; of the stage that has counted most, since each counts for itself. */
  readonly predictions: number
  /** There may be more. */
  readonly isShort: boolean
  readonly lastMs: number
  /** What the last late fact was. */
  readonly sentence: string
}

const advice =
  'The next ones are counted in millrace_overtaken_predictions_total. To compute all of them again, type: millrace recompute. History of ' +
  'several streams is sent in order by one command: produce --source a=… --source b=….'

export function createOvertakenReport(plan: Pick<Plan, 'streams'>, log: Log, nowMs: () => number): OvertakenReport {
  const byStage = new Map<string, { predictions: number; uncounted: number }>()
  const warning = createCountedWarning({ log, nowMs }, { unit: 'predictions', advice })

  function observe({ stage, partition }: Pick<Task, 'stage' | 'partition'>, overtaken: OvertakenByBatch): void {
    const { name } = stage.entity
    const { stream, time } = overtaken.last!
    const before = byStage.get(name) ?? { predictions: 0, uncounted: 0 }
    const total = {
      predictions: before.predictions + overtaken.predictions,
      uncounted: before.uncounted + overtaken.uncounted,
    }
    byStage.set(name, total)
    warning.add(
      { stage: name, partition },
      overtaken.predictions,
      `A fact of ${plan.streams[stream]!.name} of ${new Date(time).toISOString()} came to ${name} ${partition} after later events had ` +
        `been predicted: with such facts, ${countText(total)} predictions of this process would have been others so far.`,
    )
  }

  return {
    observe,
    state() {
      const state = warning.state()
      if (state === null) return null
      const { lastMs, sentence } = state
      const totals = [...byStage.values()]
      const predictions = Math.max(...totals.map((total) => total.predictions))
      return { predictions, isShort: totals.some(({ uncounted }) => uncounted > 0), lastMs, sentence }
    },
  }
}

function countText({ predictions, uncounted }: { readonly predictions: number; readonly uncounted: number }): string {
  const shown = predictions.toLocaleString('en-US')
  return uncounted === 0 ? shown : `at least ${shown} (facts of the others are kept no longer)`
}
