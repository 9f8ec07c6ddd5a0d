/**
 * The events of a batch by the entity whose log they need: an entity is looked up once an event, its log is loaded once, and its events
 * are folded one after the other, while that log is in the processor's cache. Filled as events are taken (`order.ts`); read by the steps
 * that load, fold and store.
 */
import type { CachedEntity, EntityCache } from './entity-cache.ts'

export interface EventsByEntity {
  /** Entities whose logs the batch needs, in the order of their first events. */
  readonly entities: CachedEntity[]
  /** By event: the place of its entity among these; −1 where it needs no log. */
  readonly placeOf: number[]
  /** By event: the next one of the same entity, or without one; −1 for the last. */
  readonly next: number[]
  /** By entity: its first and last event so far. */
  readonly first: number[]
  readonly last: number[]
  /** The same of events that need no log; −1 where there is none. */
  firstWithout: number
  lastWithout: number
  /** Batches so far: entities are marked with it. */
  batch: number
}

export function createEventsByEntity(): EventsByEntity {
  const lists = { entities: [], placeOf: [], next: [], first: [], last: [] }
  return { ...lists, firstWithout: -1, lastWithout: -1, batch: 0 }
}

/** For another batch. */
export function clearEvents(events: EventsByEntity): void {
  events.entities.length = 0
  events.placeOf.length = 0
  events.next.length = 0
  events.first.length = 0
  events.last.length = 0
  events.firstWithout = -1
  events.lastWithout = -1
  events.batch++
}

/** The next event of the batch. False, and it is not added, where its entity would be one more than `entitiesMax`. */
export function addEvent(events: EventsByEntity, cache: EntityCache, key: string | null, entitiesMax: number): boolean {
  const { entities, placeOf, next, first, last, batch } = events
  const number = placeOf.length
  if (key === null) {
    placeOf.push(-1)
    next.push(-1)
    if (events.lastWithout < 0) events.firstWithout = number
    else next[events.lastWithout] = number
    events.lastWithout = number
    return true
  }
  const entity = cache.find(key)
  if (entity.usedBy !== batch) {
    if (entities.length >= entitiesMax) return false
    entity.usedBy = batch
    entity.place = entities.length
    entities.push(entity)
    first.push(number)
    last.push(number)
  } else {
    next[last[entity.place]!] = number
    last[entity.place] = number
  }
  placeOf.push(entity.place)
  next.push(-1)
  return true
}
