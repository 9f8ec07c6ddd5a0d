/** What a task wants to have fetched next, and how far it has read. Asked by step 1 of the batch loop; pure. */
import type { FetchFrom } from '../../runtime/broker.ts'
import { releaseBounds } from './take-batch.ts'
import { hasUnread, heldCount } from './task-input.ts'
import { isBehindStart, isInputRestored, type TaskState } from './task-state.ts'

/** Event time that everything was read up to; infinity at the end of all inputs. */
export function readTime({ inputs }: TaskState): number {
  let time = Number.POSITIVE_INFINITY
  for (const input of inputs) if (!input.isAtEnd && input.maxEventTime < time) time = input.maxEventTime
  return time
}

/** Dropped records first; else nothing of inputs that are read far enough ahead, unless the events held wait for more of them. */
export function wantedFetches(state: TaskState, nowMs: number): FetchFrom[] {
  const { alignment, inputs, isRestoring } = state
  const { readAheadMax } = state.options.limits
  const isWaiting = alignment.peek(releaseBounds(state, nowMs, Number.POSITIVE_INFINITY)) === undefined
  return inputs.flatMap((input, i): FetchFrom[] => {
    const { topic, partition, nextOffset, refill } = input
    if (refill) return [{ topic, partition, offset: refill.from }]
    if (hasUnread(input) || isInputRestored(state, i)) return []
    const next = { topic, partition, offset: nextOffset }
    if (isBehindStart(state, input, i) || heldCount(input) < readAheadMax) return [next]
    // The held events do not wait for an input that is far ahead of the others.
    return isWaiting && (isRestoring || alignment.isWaitingFor(i, nowMs)) ? [next] : []
  })
}
