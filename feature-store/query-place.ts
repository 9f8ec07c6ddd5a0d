/**
 * What a feature query asks for and the logs of its keys come in, the place in canonical order that the values are for goes out. An event
 * is found by its fact in the log of one of the keys. Called by `reader.ts` once a query.
 */
import { type CanonicalPosition, compareCanonical } from '../schemas/kernel/canonical-order.ts'
import { createKeyedHash, type HashKey, hashIdText } from '../schemas/kernel/keyed-hash.ts'
import type { EntityPlan } from '../schemas/plan/plan.ts'
import { type EntityLog, findFact } from './entity-log.ts'

export const readings = ['now', 'through', 'asOf', 'place'] as const
export type Reading = (typeof readings)[number]

/** Which place the values are for. */
export type QueryAt =
  /** All that is folded so far, at the event time that the key's task has reached, or at `wallMs` of the wall clock. */
  | { readonly reading: 'now'; readonly wallMs: number | null }
  /** Everything at or before the instant (ms). */
  | { readonly reading: 'through'; readonly instant: number }
  /** Everything at or before an event of this stream (by index) in canonical order, the event included. */
  | { readonly reading: 'asOf'; readonly id: string; readonly stream: number }
  /** The same for a place that the caller knows, of whatever event. */
  | { readonly reading: 'place'; readonly place: CanonicalPosition }

export type PlaceProblem =
  /** The stream has only come to `reached`. */
  | { readonly code: 'place_ahead'; readonly reached: CanonicalPosition; readonly place: CanonicalPosition }
  /** No requested key has a fact of the event; facts are kept from `keptFrom` (ms) on, which is not finite before the first event. */
  | { readonly code: 'event_unknown'; readonly id: string; readonly stream: number; readonly keptFrom: number }
  /** Events of the stream leave no facts with the entity, only those of the streams `expected` do. */
  | { readonly code: 'stream_unplaced'; readonly stream: number; readonly expected: readonly number[] }

/** A task's part of a query. */
export interface QueriedPart {
  readonly frontier: CanonicalPosition
  /** Live facts only; null where the key has none. */
  readonly logs: ReadonlyArray<EntityLog | null>
}

export type Placed =
  /** Null: the whole of what each task has folded. */
  | { readonly ok: true; readonly place: CanonicalPosition | null }
  | { readonly ok: false; readonly problem: PlaceProblem }

/** After every event of the instant. */
export function throughInstant(time: number): CanonicalPosition {
  return { time, order: Number.POSITIVE_INFINITY }
}

/** `hashKey`: the pipeline's, by which facts are found. */
export function placeOf(at: QueryAt, entity: EntityPlan, parts: readonly QueriedPart[], hashKey: HashKey): Placed {
  switch (at.reading) {
    case 'now':
      return { ok: true, place: at.wallMs === null ? null : throughInstant(at.wallMs) }
    case 'through':
      return reachedPlace(throughInstant(at.instant), parts)
    case 'place':
      return reachedPlace(at.place, parts)
    case 'asOf':
      return placeOfEvent(at, entity, parts, hashKey)
  }
}

function placeOfEvent(
  { id, stream }: Extract<QueryAt, { reading: 'asOf' }>,
  entity: EntityPlan,
  parts: readonly QueriedPart[],
  hashKey: HashKey,
): Placed {
  const streams = entity.layout.sources.map((source) => source.stream)
  if (!streams.includes(stream)) {
    return { ok: false, problem: { code: 'stream_unplaced', stream, expected: streams } }
  }
  const hash = createKeyedHash(hashKey)
  hashIdText(hash, stream, id)
  for (const log of parts.flatMap(({ logs }) => logs)) {
    const row = log === null ? -1 : findFact(log, stream, hash, Number.NEGATIVE_INFINITY)
    if (log === null || row === -1) continue
    // The fact may count at another time than the event's own, which is where the event was folded.
    const time = log.rows[row + (entity.layout.knownColumn ?? 0)]!
    return reachedPlace({ time, order: log.rows[row + 1]! }, parts)
  }
  const keptFrom = Math.min(...parts.map(({ frontier }) => frontier.time - entity.retentionMs))
  return { ok: false, problem: { code: 'event_unknown', id, stream, keptFrom } }
}

/** An instant that the stream has come to may be asked for, although more facts of it may come: the answer says so. */
function reachedPlace(place: CanonicalPosition, parts: readonly QueriedPart[]): Placed {
  const isAhead = ({ frontier }: QueriedPart) =>
    Number.isFinite(place.order) ? compareCanonical(place, frontier) > 0 : place.time > frontier.time
  const behind = parts.find(isAhead)
  return behind === undefined
    ? { ok: true, place }
    : { ok: false, problem: { code: 'place_ahead', reached: behind.frontier, place } }
}
