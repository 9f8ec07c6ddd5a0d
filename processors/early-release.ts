/**
 * Tells about events that were released before all sources had passed them: tasks come in with every committed batch, a sentence in the log
 * and the reason why the process is degraded come out. Created by the worker.
 */
import type { Log } from '../runtime/log.ts'
import type { Task } from './batch/task.ts'
import { createCountedWarning, type WarningState } from './counted-warning.ts'

export interface EarlyReleases {
  /** Called once the task's batch is committed. */
  observe(task: EarlyTask): void
  /** Events that were released early, and what the last of them did not wait for; null where there were none. */
  state(): WarningState | null
}

type EarlyTask = Pick<Task, 'stage' | 'partition' | 'inputs' | 'counts' | 'lastEarly' | 'isRestoring'>

const advice =
  'Its vector, and those that it counts in, may differ from a replay. The next ones are counted in ' +
  'millrace_released_early_events.'

export function createEarlyReleases(log: Log, nowMs: () => number): EarlyReleases {
  const counted = new WeakMap<EarlyTask, number>()
  const warning = createCountedWarning({ log, nowMs }, { unit: 'events', advice })

  function observe(task: EarlyTask): void {
    const now = task.counts.releasedEarly
    const added = now - (counted.get(task) ?? 0)
    counted.set(task, now)
    // What is folded again was told when it was folded first.
    if (task.isRestoring || added <= 0) return
    warning.add({ stage: task.stage.entity.name, partition: task.partition }, added, sentenceOf(task))
  }

  return { observe, state: warning.state }
}

function sentenceOf({ stage, partition, inputs, lastEarly }: EarlyTask): string {
  const { time, source, input } = lastEarly!
  const at = Number.isFinite(time) ? new Date(time).toISOString() : 'unknown'
  const { topic } = inputs[input]!
  // Every raw input is one source; behind them are the tasks of the stage before, which all write to the last input.
  const isTask = input === inputs.length - 1 && stage.repartitionIn !== null
  const named = isTask ? `task ${source - input} of the stage before` : `${topic}, partition ${partition}`
  return (
    `An event of ${at} in ${stage.entity.name} ${partition} was released early: ${named} had made no progress for as long as ` +
    'MILLRACE_HOLD_MAX_MS allows.'
  )
}
