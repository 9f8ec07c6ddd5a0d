/**
 * The frontiers of all tasks that write to a repartition topic, as this process has observed them by reading any of its partitions. One
 * exists per repartition topic; tasks and progress consumers update it as they read, and idle reports are made from it.
 *
 * It makes idle reports exact between processes. A task that has observed a source's frontier, and whose next fetch finds its own inputs at
 * their end, has read everything that was in Kafka before the event at that frontier was sent. Its idle report therefore names the
 * frontiers that were observed before that fetch, and covers events at or before them. An idle task that observes a new frontier fetches
 * once more and reports again. No timer is needed, and reports do not cause each other endlessly, since an idle report moves no frontier.
 *
 * Raw topics that are read beside the repartition topic need the same. Every raw input of every reading task is a source, too: they are
 * numbered behind the tasks, and the frontier of one is the next offset that will be read from it.
 */
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'
import { copyOf, type Frontier, initialFrontier } from './frontier.ts'

export interface SourceFrontiers {
  /** How many tasks write to the topic; the sources behind them are raw inputs. */
  readonly sources: number
  /** By source, as of all that was read. */
  readonly latest: readonly Frontier[]
  /** What was observed before the latest fetch began: what an idle report covers that is made from this fetch. */
  readonly beforeFetch: ObservedProgress
  /** What `beforeFetch` will be for the next fetch. */
  readonly beforeNextFetch: ObservedProgress
  observe(source: number, frontier: Frontier): void
  /** Some process has requested progress reports. */
  observeRequest(): void
  /** A reader has reached the end of its partition of the topic. */
  setCaughtUp(): void
  /** A fetch has returned; called before any of its records is read. */
  startRound(): void
}

export interface ObservedProgress {
  /** By source. */
  readonly frontiers: readonly Frontier[]
  /** How many requests for progress were read. */
  readonly requests: number
}

interface FrontiersState {
  readonly latest: Frontier[]
  requests: number
  beforeFetch: ObservedProgress
  /** Something was observed that `beforeFetch` does not have. */
  hasChanged: boolean
  /** Fetches since `beforeFetch` could last change. */
  roundsBehind: number
}

/**
 * While a reader is behind, each fetch brings frontiers that are out of date, and reporting on each of them would write more than is read.
 * What was observed counts once a reader has caught up, or after this many fetches.
 */
export const roundsBehindMax = 16

/** `rawSources`: raw inputs of all tasks of the stage that reads the topic. */
export function createSourceFrontiers(sources: number, rawSources: number): SourceFrontiers {
  const latest = new Array<Frontier>(sources + rawSources).fill(initialFrontier)
  const state: FrontiersState = {
    latest,
    requests: 0,
    beforeFetch: { frontiers: [...latest], requests: 0 },
    hasChanged: false,
    roundsBehind: 0,
  }
  return {
    sources,
    latest,
    get beforeFetch() {
      return state.beforeFetch
    },
    get beforeNextFetch() {
      return beforeNextFetch(state)
    },
    observe: (source, frontier) => observe(state, source, frontier),
    observeRequest() {
      state.requests++
      state.hasChanged = true
    },
    setCaughtUp() {
      state.roundsBehind = roundsBehindMax
    },
    startRound: () => startRound(state),
  }
}

function observe(state: FrontiersState, source: number, frontier: Frontier): void {
  const known = state.latest[source]
  if (known === undefined || compareCanonical(frontier, known) <= 0) return
  state.latest[source] = copyOf(frontier)
  state.hasChanged = true
}

function beforeNextFetch({
  hasChanged,
  roundsBehind,
  latest,
  requests,
  beforeFetch,
}: FrontiersState): ObservedProgress {
  return hasChanged && roundsBehind >= roundsBehindMax ? { frontiers: [...latest], requests } : beforeFetch
}

function startRound(state: FrontiersState): void {
  state.beforeFetch = beforeNextFetch(state)
  if (state.roundsBehind >= roundsBehindMax) {
    state.roundsBehind = 0
    state.hasChanged = false
  } else state.roundsBehind++
}

export function observeWatermark(
  { sources, requestsProgress }: WatermarkRecord,
  sourceFrontiers: SourceFrontiers,
): void {
  for (const { source, watermark, order } of sources) sourceFrontiers.observe(source, { time: watermark, order })
  if (requestsProgress) sourceFrontiers.observeRequest()
}

/** Source number of a raw input of a reading task; a task's raw inputs come first, in the order of its stage's raw streams. */
export function rawSourceOf(sources: number, { rawStreams }: StagePlan, partition: number, input: number): number {
  return sources + partition * rawStreams.length + input
}
