/**
 * What a task tells the next stage: how far it has come, and whether it has nothing more. Kept with each open task; the batch loop asks
 * when it is due and sends it behind the events of a transaction.
 *
 * All tasks of a stage speak behind the events of any of them, since those wait until the others are known to have nothing earlier. Else
 * a task speaks once it has become idle, and again when it has looked since it heard that a task of another process has come further, or
 * since somebody asked (`hearing.ts`). A task between two others may come further without an event of its own: it says so with whatever is
 * committed next.
 */
import { compareCanonical } from '../schemas/canonical-order.ts'
import type { CanonicalPosition, HopSource } from '../schemas/plan.ts'
import type { Hearing } from './hearing.ts'
import { nothingPassed } from './position.ts'
import type { Task } from './task.ts'

export interface Others {
  /** A task of the same stage and process sends events in this transaction. */
  readonly isSending: boolean
  /** There is a transaction anyway. */
  readonly isCommitting: boolean
  readonly hearing: Hearing
  /** Sources that are tasks of this process: what they send is known without being heard. */
  readonly isOwn: (source: number) => boolean
  /** The fetch that was answered last. */
  readonly answered: number
}

export interface Word {
  isDue(task: Task, others: Others): boolean
  /** One more fetch will make it due. */
  isOwed(task: Task, others: Others): boolean
  say(task: Task, others: Others): HopSource
}

export function createWord(): Word {
  let saidIdle = false
  let saidPlace: CanonicalPosition = nothingPassed
  let saidHeard: readonly CanonicalPosition[] = []
  let saidAsks = 0

  /** The latest fetch has found it at its end: what it had heard of before that, it has looked for. */
  function isIdle(task: Task, { answered }: Others): boolean {
    return task.isIdle() && task.endRound() === answered
  }

  function isNews(heard: readonly CanonicalPosition[], asks: number, { isOwn }: Others): boolean {
    if (!saidIdle || asks > saidAsks) return true
    return heard.some((place, i) => !isOwn(i) && compareCanonical(place, saidHeard[i] ?? nothingPassed) > 0)
  }

  return {
    isDue(task, others) {
      const { isSending, isCommitting, hearing } = others
      if (isSending || (isCommitting && compareCanonical(task.watermark(), saidPlace) > 0)) return true
      return isIdle(task, others) && isNews(hearing.before, hearing.asks.before, others)
    },
    isOwed: (task, others) => task.isIdle() && isNews(others.hearing.now, others.hearing.asks.now, others),
    say(task, others) {
      saidIdle = isIdle(task, others)
      saidPlace = task.watermark()
      saidHeard = others.hearing.before
      saidAsks = others.hearing.asks.before
      return { source: task.partition, watermark: saidPlace.time, order: saidPlace.order, idle: saidIdle }
    },
  }
}
