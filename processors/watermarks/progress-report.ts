/**
 * What a task tells the next stage: how far it has come, and whether it has nothing more. Kept with each open task; the batch loop asks
 * when it is due and sends it behind the events of a transaction.
 *
 * All tasks of a stage speak behind the events of any of them, since those wait until the others are known to have nothing earlier. Else
 * a task speaks when it has come further without an event of its own, as one between two others does, when somebody has asked, and once it
 * has become idle: then again when it has looked since it heard that another task has come further (`source-frontiers.ts`).
 */

import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { SourceProgress } from '../../schemas/wire/records.ts'
import type { Task } from '../batch/task.ts'
import { initialFrontier } from '../position.ts'

export interface Others {
  /** A task of the same stage and process sends events in this transaction. */
  readonly isSending: boolean
  /** Places that a task which the latest fetch found at its end has looked for, by source, and how often it was asked by then. */
  readonly observed: readonly CanonicalPosition[]
  readonly asks: number
  /** The fetch that was answered last. */
  readonly answered: number
}

export interface ProgressReporter {
  isDue(task: Task, others: Others): boolean
  /** Where `others` tells what was heard in the latest fetch: one more will make it due. */
  isOwed(task: Task, others: Pick<Others, 'observed' | 'asks'>): boolean
  say(task: Task, others: Others): SourceProgress
}

export function createProgressReporter(): ProgressReporter {
  let reportedFrontier: CanonicalPosition = initialFrontier
  let reportedRequests = 0
  /** Null: the last word was not an idle one. */
  let reportedIdle: Look | null = null

  /** The latest fetch has found it at its end: what it had heard of before that, it has looked for. */
  function isIdle(task: Task, { answered }: Others): boolean {
    return task.isAtEnd() && task.endRound() === answered
  }

  /** It could say more than it has said: that it has nothing at all, or that it has looked further for some source. */
  function isNews(task: Task, { observed, asks }: Pick<Others, 'observed' | 'asks'>): boolean {
    const look = { observed, until: task.reach() }
    if (asks > reportedRequests || (look.until === null && reportedIdle?.until !== null)) return true
    return observed.some((_, source) => compareCanonical(reachOf(look, source), reachOf(reportedIdle, source)) > 0)
  }

  return {
    isDue(task, others) {
      if (
        others.isSending ||
        others.asks > reportedRequests ||
        compareCanonical(task.watermark(), reportedFrontier) > 0
      )
        return true
      return isIdle(task, others) && isNews(task, others)
    },
    isOwed: (task, others) => task.isAtEnd() && isNews(task, others),
    say(task, others) {
      reportedFrontier = task.watermark()
      reportedRequests = others.asks
      reportedIdle = isIdle(task, others) ? { observed: others.observed, until: task.reach() } : null
      const { time: watermark, order } = reportedFrontier
      const place = { source: task.partition, watermark, order, retentionWatermark: task.retentionWatermark }
      return { ...place, idle: reportedIdle !== null, idleUpTo: reportedIdle?.until ?? null }
    },
  }
}

/** How far a task has looked. */
interface Look {
  readonly observed: readonly CanonicalPosition[]
  readonly until: CanonicalPosition | null
}

function reachOf(look: Look | null, source: number): CanonicalPosition {
  const observed = look?.observed[source] ?? initialFrontier
  return look?.until && compareCanonical(look.until, observed) < 0 ? look.until : observed
}
