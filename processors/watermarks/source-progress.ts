/**
 * Decides whether a source can still send something before a held event, and whether it is worth waiting for. Pure predicates on the state
 * of an alignment, called by `alignment.ts` for the first event in order.
 */
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { Aligned, AlignmentState, SourceState } from './alignment-state.ts'
import { type Frontier, isCovered } from './frontier.ts'

/** No source can send an earlier event any more, or the event is late and has nothing to wait for. */
function isDue<T extends Aligned>(state: AlignmentState<T>, event: T, nowMs: number): boolean {
  return isCovered(event, state.frontier) || firstBlocking(state, event, nowMs) < 0
}

/** Every source that can still send an earlier event has made no progress for this long, while the event waited. */
export function isStalled<T extends Aligned>(
  state: AlignmentState<T>,
  event: T,
  nowMs: number,
  stallMaxMs: number,
): boolean {
  if (!Number.isFinite(stallMaxMs)) return false
  const waitsSinceMs = Math.max(event.readAtMs, state.waitsSinceMs)
  return state.sources.every(
    (source, i) =>
      nowMs - Math.max(waitsSinceMs, source.progressAtMs) > stallMaxMs || hasPassed(state, i, event, nowMs),
  )
}

/** The first source that can still send an earlier event; −1 where none can. */
export function firstBlocking<T extends Aligned>(state: AlignmentState<T>, event: T, nowMs: number): number {
  const { sources } = state
  for (let i = 0; i < sources.length; i++) if (!hasPassed(state, i, event, nowMs)) return i
  return -1
}

/** When one of the sources that the event waits for last made progress; −infinity where it waits for none. */
export function blockingProgressMs<T extends Aligned>(state: AlignmentState<T>, event: T, nowMs: number): number {
  let latest = Number.NEGATIVE_INFINITY
  state.sources.forEach(({ progressAtMs }, i) => {
    if (progressAtMs > latest && !hasPassed(state, i, event, nowMs)) latest = progressAtMs
  })
  return latest
}

/** The event waits for a source of this input. */
export function isWaitingFor<T extends Aligned>(
  state: AlignmentState<T>,
  event: T,
  input: number,
  nowMs: number,
): boolean {
  return state.sources.some((source, i) => source.input === input && !hasPassed(state, i, event, nowMs))
}

/** The event waits only for a fetch that confirms that raw sources are still at their end. */
export function isWaitingForEnd<T extends Aligned>(state: AlignmentState<T>, event: T, nowMs: number): boolean {
  if (isDue(state, event, nowMs)) return false
  return state.sources.every((source, i) => hasPassed(state, i, event, nowMs) || isAtOldEnd(state, source, event))
}

function hasPassed<T extends Aligned>(state: AlignmentState<T>, index: number, event: T, nowMs: number): boolean {
  const source = state.sources[index]!
  const input = state.inputs[source.input]!
  if (input.isFinished) return true
  if (source.kind === 'task') return hasTaskPassed(state, source, event)
  const isEndKnown = input.endRound > event.round
  if (index === event.source) {
    if (source.frontier.time - source.disorderMs >= event.time) return true
    // At the end of a partition nothing advances event time, so the declared disorder is waited out in processing time.
    return isEndKnown && nowMs - event.readAtMs >= source.disorderMs
  }
  return source.frontier.time - source.disorderMs > event.time || isEndKnown
}

/** A task sends in canonical order, so each of its events moves its frontier. */
function hasTaskPassed<T extends Aligned>(state: AlignmentState<T>, source: SourceState, event: T): boolean {
  const { frontier, report, covered } = source
  if (isCovered(event, frontier) || isObserved(state, source, event, covered)) return true
  if (!report.isIdle || (report.idleUpTo !== null && compareCanonical(event, report.idleUpTo) > 0)) return false
  return isObserved(state, source, event, report.observed)
}

/** The task had observed the event, or that it was read, before it came to the end of its inputs. */
function isObserved<T extends Aligned>(
  state: AlignmentState<T>,
  { input }: SourceState,
  event: T,
  frontiers: readonly Frontier[],
): boolean {
  const isFromTask = input === event.input
  const observed = frontiers[isFromTask ? event.source - state.firstTask : state.rawSourceOf(event.input)]
  if (observed === undefined) return false
  // Of a raw input the next offset is reported in place of an event time.
  return isFromTask ? isCovered(event, observed) : event.offset < observed.time
}

/** At its end as far as is known, but not by a fetch that began after the event was read. */
function isAtOldEnd<T extends Aligned>(state: AlignmentState<T>, source: SourceState, event: T): boolean {
  const { isAtEnd, endRound } = state.inputs[source.input]!
  return source.kind === 'raw' && isAtEnd && endRound <= event.round
}
