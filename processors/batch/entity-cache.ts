/**
 * Entity logs of one task in memory: what a batch touches is loaded once and stays until it is applied; beyond the budget the longest
 * untouched go. Called by the batch loop, and by replays that never let anything go.
 */
import { type EntityLog, liveRows } from '../../feature-store/entity-log.ts'
import { createStepWrites, emptyWrites, type StepWrites } from '../../feature-store/step-writes.ts'
import type { StoredLog } from '../../feature-store/store.ts'
import { decodeLog, takeWrite } from '../../feature-store/stored-log.ts'
import type { FactLayout } from '../../schemas/plan/plan.ts'

export interface EntityCache {
  readonly entities: number
  /** Those of these keys that must be loaded before the batch is folded. */
  missing(keys: Iterable<string>): string[]
  put(key: string, stored: StoredLog | null): void
  /** The log of an entity that is in the cache, marked as touched by this batch. */
  touch(key: string, batch: number): EntityLog
  /**
   * What the store needs to come level with the logs that the batch touched. It is a copy, and stays until this is called for the batch
   * after the next one: by then its step is applied.
   */
  takeWrites(keys: Iterable<string>): StepWrites
  /** Lets the longest untouched entities go until the budget is met; those touched since `pinnedFrom` stay, whatever it costs. */
  trim(pinnedFrom: number): void
}

interface Entry {
  readonly log: EntityLog
  touchedBy: number
}

export function createEntityCache(layout: FactLayout, options: { readonly rowsMax: number }): EntityCache {
  const entries = new Map<string, Entry>()
  let writes = createStepWrites()
  /** Of the batch that is still on its way. */
  let writesBefore = createStepWrites()

  function missing(keys: Iterable<string>): string[] {
    const wanted = new Set<string>()
    for (const key of keys) if (!entries.has(key)) wanted.add(key)
    return [...wanted]
  }

  function put(key: string, stored: StoredLog | null): void {
    entries.set(key, { log: decodeLog(stored, layout), touchedBy: -1 })
  }

  function touch(key: string, batch: number): EntityLog {
    const entry = entries.get(key)
    if (!entry) throw new Error(`entity ${key} was not loaded before its batch`)
    entry.touchedBy = batch
    return entry.log
  }

  function takeWrites(keys: Iterable<string>): StepWrites {
    ;[writes, writesBefore] = [writesBefore, writes]
    emptyWrites(writes)
    for (const key of keys) {
      const entry = entries.get(key)
      if (entry) takeWrite(entry.log, key, writes)
    }
    return writes
  }

  function trim(pinnedFrom: number): void {
    let rows = 0
    for (const { log } of entries.values()) rows += rowsOf(log)
    if (rows <= options.rowsMax) return
    const free = [...entries].filter(([, { touchedBy }]) => touchedBy < pinnedFrom)
    for (const [key, { log }] of free.sort(([, a], [, b]) => a.touchedBy - b.touchedBy)) {
      if (rows <= options.rowsMax) break
      rows -= rowsOf(log)
      entries.delete(key)
    }
  }

  return {
    get entities() {
      return entries.size
    },
    missing,
    put,
    touch,
    takeWrites,
    trim,
  }
}

/** An empty log costs memory too. */
function rowsOf(log: EntityLog): number {
  return 8 + liveRows(log)
}
