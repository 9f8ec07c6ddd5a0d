/**
 * What a task tells the next stage: how far it has come, and whether it has nothing more. Kept with each open task; the batch loop asks
 * when it is due and sends it behind the events of a transaction.
 *
 * All tasks of a stage speak behind the events of any of them, since those wait until the others are known to have nothing earlier. Else
 * a task speaks once it has become idle, and, where other processes own tasks of its stage, again and again. A task between two others
 * may come further without an event of its own: it says so with whatever is committed next.
 */
import type { HopSource } from '../schemas/plan.ts'
import type { Task } from './task.ts'

export interface Others {
  /** A task of the same stage and process sends events in this transaction. */
  readonly isSending: boolean
  /** There is a transaction anyway. */
  readonly isCommitting: boolean
  /** This process owns all tasks of the stage. */
  readonly isAlone: boolean
}

export interface Word {
  readonly saidIdle: boolean
  isDue(task: Task, others: Others, nowMs: number, idleRepeatMs: number): boolean
  /**
   * A task is idle towards the events of the transaction only if a fetch that began after all of them were read found it at its end: what
   * was in Kafka before they were sent would have been seen. `newestRound` is the last fetch that brought one of them.
   */
  say(task: Task, newestRound: number, nowMs: number): HopSource
}

export function createWord(): Word {
  let saidIdle = false
  let saidMs = Number.NEGATIVE_INFINITY
  let saidTime = Number.NEGATIVE_INFINITY

  return {
    get saidIdle() {
      return saidIdle
    },
    isDue(task, { isSending, isCommitting, isAlone }, nowMs, idleRepeatMs) {
      if (isSending || (isCommitting && task.watermark() > saidTime)) return true
      if (!task.isIdle()) return false
      return !saidIdle || (!isAlone && nowMs - saidMs >= idleRepeatMs)
    },
    say(task, newestRound, nowMs) {
      saidIdle = task.isIdle() && task.endRound() > newestRound
      saidMs = nowMs
      saidTime = task.watermark()
      return { source: task.partition, watermark: saidTime, idle: saidIdle }
    },
  }
}
