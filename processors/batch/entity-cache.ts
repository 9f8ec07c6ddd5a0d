/**
 * Entity logs of one task in memory: what a batch needs is loaded once and stays until it is applied; beyond the budget the longest
 * unused go. Called by the steps of the batch loop, and by replays that never let anything go.
 */
import { bytesBesideRows, type EntityLog, liveRows } from '../../feature-store/entity-log.ts'
import { createStepWrites, emptyWrites, type StepWrites } from '../../feature-store/step-writes.ts'
import type { StoredLog } from '../../feature-store/store.ts'
import { decodeLog, takeWrite } from '../../feature-store/stored-log.ts'
import type { FactLayout } from '../../schemas/plan/plan.ts'

export interface CachedEntity {
  readonly key: string
  /** Null until it is loaded. */
  log: EntityLog | null
  /** The last batch that needed it, and its place among the entities of that batch. */
  usedBy: number
  place: number
  /** What it weighed when it was counted last. */
  weight: number
}

export interface EntityCache {
  readonly entities: number
  /** The entity of this key; without a log where it has to be loaded before the batch is folded. */
  find(key: string): CachedEntity
  /** Null: the store has nothing of it. */
  put(entity: CachedEntity, stored: StoredLog | null): void
  /**
   * What the store needs to come level with the logs of these. It is a copy, and stays until this is called for the batch after the next
   * one: by then its step is applied.
   */
  takeWrites(entities: readonly CachedEntity[]): StepWrites
  /**
   * Lets the longest unused entities go once the budget is exceeded. Those of this batch, which is the only one that is not applied yet,
   * stay, whatever it costs.
   */
  trim(batch: number): void
}

/** So much of the budget is left by a trim: the next one, which sorts all entities, comes after many batches. */
const keptShare = 0.9

export function createEntityCache(layout: FactLayout, options: { readonly rowsMax: number }): EntityCache {
  const entities = new Map<string, CachedEntity>()
  /** Of all entities, as they were counted last. */
  let weight = 0
  let writes = createStepWrites()
  /** Of the batch that is still on its way. */
  let writesBefore = createStepWrites()

  function find(key: string): CachedEntity {
    const known = entities.get(key)
    if (known !== undefined) return known
    const entity: CachedEntity = { key, log: null, usedBy: -1, place: -1, weight: 0 }
    entities.set(key, entity)
    return entity
  }

  function put(entity: CachedEntity, stored: StoredLog | null): void {
    entity.log = decodeLog(stored, layout)
    weigh(entity, entity.log)
  }

  function weigh(entity: CachedEntity, log: EntityLog): void {
    const now = weightOf(log)
    weight += now - entity.weight
    entity.weight = now
  }

  function takeWrites(written: readonly CachedEntity[]): StepWrites {
    ;[writes, writesBefore] = [writesBefore, writes]
    emptyWrites(writes)
    for (let i = 0; i < written.length; i++) {
      const entity = written[i]!
      takeWrite(entity.log!, entity.key, writes)
      weigh(entity, entity.log!)
    }
    return writes
  }

  function trim(batch: number): void {
    if (weight <= options.rowsMax) return
    const free = [...entities.values()].filter(({ usedBy }) => usedBy !== batch)
    for (const entity of free.sort((a, b) => a.usedBy - b.usedBy)) {
      if (weight <= options.rowsMax * keptShare) break
      weight -= entity.weight
      entities.delete(entity.key)
    }
  }

  return {
    get entities() {
      return entities.size
    },
    find,
    put,
    takeWrites,
    trim,
  }
}

/** In rows. An empty log costs memory too, and so does what finds the extremes of a large one. */
function weightOf(log: EntityLog): number {
  return 8 + liveRows(log) + Math.ceil(bytesBesideRows(log) / (8 * log.width))
}
