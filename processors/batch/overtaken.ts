/**
 * How many predictions were made before a fact of their windows arrived: a late fact and the log of its entity come in, the number of
 * predictions that it would have changed goes out. Each is counted once, however many late facts its windows hold. Called by `fold.ts`.
 */
import { type EntityLog, mergeAside, upperBound } from '../../feature-store/entity-log.ts'
import { streamOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'

export interface Overtaken {
  /** Predictions whose windows the fact belongs in, of those that the log still shows and that were not counted before. */
  readonly predictions: number
  /** There may be more: the log keeps them no longer, or the entity keeps no scored events. */
  readonly isShort: boolean
}

export interface LateFact {
  readonly stream: number
  readonly time: number
  readonly order: number
  readonly event: EventValues
}

export interface Overtaking {
  /** Every event that is scored: no prediction is later than the latest of them. */
  observeScored(time: number): void
  /** `log` has the fact. `floorTime`: facts before it are dead. */
  count(fact: LateFact, key: string, log: EntityLog, floorTime: number): Overtaken
}

/** A span of event time, ms: `from` included, `to` not. */
interface Span {
  readonly from: number
  readonly to: number
}

interface OvertakingState {
  /** By stream: how far behind one of its facts the predictions lie whose windows hold it. */
  readonly reaches: ReadonlyArray<readonly Span[]>
  /** By stream: field of the time that its facts count at. */
  readonly atFields: ReadonlyArray<string | null>
  readonly scoredStream: number
  /** The log shows when predictions were made. */
  readonly showsPredictions: boolean
  newestScored: number
  /** By entity: predictions in these spans were counted. */
  readonly counted: Map<string, Span[]>
  /** Floor at the last attempt to make room in `counted`. */
  sweptFloor: number
}

const none: Overtaken = { predictions: 0, isShort: false }
const unknown: Overtaken = { predictions: 0, isShort: true }

/** Entities of a task whose counted spans are remembered, spans of each, and rows that one late fact looks at. */
const entitiesMax = 65_536
const spansMax = 16
const rowsMax = 65_536

/** `newestScored`: no prediction was made yet that is later, ms. */
export function createOvertaking(plan: Plan, { entity }: StagePlan, newestScored: number): Overtaking {
  const { sources } = entity.layout
  const atFieldOf = (stream: number) => sources.find((source) => source.stream === stream)?.atField ?? null
  const state: OvertakingState = {
    reaches: plan.streams.map(({ index }) =>
      merged(
        entity.slots
          .filter(({ stream }) => stream === index)
          .map(({ lagMs, overMs }) => ({ from: lagMs, to: lagMs + overMs })),
      ),
    ),
    atFields: plan.streams.map(({ index }) => atFieldOf(index)),
    scoredStream: plan.scored.index,
    showsPredictions: atFieldOf(plan.scored.index) === plan.scored.timeField,
    newestScored,
    counted: new Map(),
    sweptFloor: Number.NEGATIVE_INFINITY,
  }
  return {
    observeScored(time) {
      if (time > state.newestScored) state.newestScored = time
    },
    count: (fact, key, log, floorTime) => count(state, fact, key, log, floorTime),
  }
}

function count(state: OvertakingState, fact: LateFact, key: string, log: EntityLog, floorTime: number): Overtaken {
  const atField = state.atFields[fact.stream]
  if (atField === null || atField === undefined) return none
  const countsAt = fact.event[atField] as number
  // What was predicted before the fact was known does not count it, in a replay either.
  const spans = state.reaches[fact.stream]!.map(({ from, to }) => ({
    from: Math.max(countsAt + from, fact.time),
    to: Math.min(countsAt + to, state.newestScored + 1),
  })).filter(({ from, to }) => from < to)
  if (spans.length === 0) return none
  if (!state.showsPredictions || !hasRoom(state, key, floorTime)) return unknown
  let predictions = 0
  let isShort = spans[0]!.from < floorTime
  for (const span of spans) {
    const counted = countSpan(state, fact, key, log, span)
    predictions += counted.predictions
    isShort ||= counted.to < span.to
  }
  return { predictions, isShort }
}

/** The predictions of the span that were not counted before, and up to where it was looked at. */
function countSpan(
  { counted, scoredStream }: OvertakingState,
  fact: LateFact,
  key: string,
  log: EntityLog,
  { from, to }: Span,
): { readonly predictions: number; readonly to: number } {
  mergeAside(log)
  const { rows, width, end } = log
  const known = counted.get(key) ?? []
  let row = upperBound(log, from, from === fact.time ? fact.order : -1)
  let [predictions, looked, reached] = [0, 0, to]
  while (row < end) {
    const time = rows[row * width]!
    if (time >= to) break
    if (looked++ >= rowsMax) {
      reached = time
      break
    }
    const span = known.find((candidate) => candidate.from <= time && time < candidate.to)
    if (span) {
      row = upperBound(log, span.to, -1)
      continue
    }
    if (streamOfOrder(rows[row * width + 1]!) === scoredStream) predictions++
    row++
  }
  if (reached > from) counted.set(key, fewest(merged([...known, { from, to: reached }])))
  return { predictions, to: reached }
}

/** Spans that overlap or touch become one; in order of time. */
function merged(spans: readonly Span[]): Span[] {
  const result: Span[] = []
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    const last = result.at(-1)
    if (last && span.from <= last.to) result[result.length - 1] = { from: last.from, to: Math.max(last.to, span.to) }
    else result.push(span)
  }
  return result
}

/** Beyond the limit the two that are closest become one: what lies between them is then not counted any more. */
function fewest(spans: Span[]): Span[] {
  while (spans.length > spansMax) {
    let closest = 1
    for (let i = 2; i < spans.length; i++) if (gapBefore(spans, i) < gapBefore(spans, closest)) closest = i
    spans.splice(closest - 1, 2, { from: spans[closest - 1]!.from, to: spans[closest]!.to })
  }
  return spans
}

function gapBefore(spans: readonly Span[], index: number): number {
  return spans[index]!.from - spans[index - 1]!.to
}

/** Makes room of entities whose spans the logs show no longer. */
function hasRoom(state: OvertakingState, key: string, floorTime: number): boolean {
  const { counted } = state
  if (counted.has(key) || counted.size < entitiesMax) return true
  if (floorTime <= state.sweptFloor) return false
  state.sweptFloor = floorTime
  for (const [other, spans] of counted) if (spans.at(-1)!.to <= floorTime) counted.delete(other)
  return counted.size < entitiesMax
}
