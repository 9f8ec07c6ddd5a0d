/**
 * What a process has heard of the tasks that feed a repartition topic, by reading any partition of it: how far each has come. Kept for
 * every such topic; tasks and listeners write it as they read, words are said by it.
 *
 * It is what makes "I have nothing more" exact between processes. A task that has heard that another has passed a place, and then finds
 * its own inputs at their end, has seen all that was in Kafka before the event at that place was sent. So its word names the places that
 * it had heard of before it looked, and counts for events at or before them. Who hears of something new while it has nothing to send
 * looks again and says so again: nobody waits for a timer, and nobody answers an answer, since being idle moves no place.
 *
 * Tasks that read the repartition topic and raw topics beside it need the same for their raw events. Their raw inputs are numbered behind
 * the sources, and the place of one is the next offset that is read of it.
 */

import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'
import { initialFrontier } from '../position.ts'

export interface SourceFrontiers {
  /** How many sources there are; tellers of raw readings come behind them. */
  readonly sources: number
  /** By number of source or teller, as of all that was read. */
  readonly now: readonly CanonicalPosition[]
  /** What whoever is found at its end by the latest fetch has looked for: heard before that fetch. */
  readonly before: Observed
  /** What `before` will be with the next fetch. */
  readonly next: Observed
  observed(source: number, place: CanonicalPosition): void
  asked(): void
  /** Somebody has read all that could be read. */
  caughtUp(): void
  /** Another fetch is answered: called before anything of it is read. */
  turn(): void
}

export interface Observed {
  readonly places: readonly CanonicalPosition[]
  /** How often somebody has asked. */
  readonly asks: number
}

/**
 * While a reader is behind, each fetch brings places that are old already, and to answer each of them would write more than is read: what
 * was heard counts once it has caught up, or after so many fetches.
 */
const behindMax = 16

/** `tellers`: raw inputs of all tasks of the stage that reads the topic. */
export function createSourceFrontiers(sources: number, rawSources: number): SourceFrontiers {
  const now: CanonicalPosition[] = new Array<CanonicalPosition>(sources + rawSources).fill(initialFrontier)
  let asks = 0
  let before: Observed = { places: [...now], asks }
  let hasChanged = false
  /** Fetches since something counted. */
  let behind = 0

  function next(): Observed {
    return hasChanged && behind >= behindMax ? { places: [...now], asks } : before
  }

  return {
    sources,
    now,
    get before() {
      return before
    },
    get next() {
      return next()
    },
    observed(source, place) {
      const known = now[source]
      if (known === undefined || compareCanonical(place, known) <= 0) return
      now[source] = { time: place.time, order: place.order }
      hasChanged = true
    },
    asked() {
      asks++
      hasChanged = true
    },
    caughtUp() {
      behind = behindMax
    },
    turn() {
      before = next()
      if (behind >= behindMax) {
        behind = 0
        hasChanged = false
      } else behind++
    },
  }
}

export function observeWatermark(
  { sources, requestsProgress }: WatermarkRecord,
  sourceFrontiers: SourceFrontiers,
): void {
  for (const { source, watermark, order } of sources) sourceFrontiers.observed(source, { time: watermark, order })
  if (requestsProgress) sourceFrontiers.asked()
}

/** Number of a raw input of a task that reads the topic; the raw inputs of a task come first, in the order of its stage's raw streams. */
export function rawSourceOf(sources: number, { rawStreams }: StagePlan, partition: number, input: number): number {
  return sources + partition * rawStreams.length + input
}
