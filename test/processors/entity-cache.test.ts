/** The cache of entity logs: what must be loaded, what is written, what may be evicted. */
import { describe, expect, test } from 'vitest'
import { insertFact } from '../../feature-store/entity-log.ts'
import { tail } from '../../feature-store/step-writes.ts'
import { createEntityCache, type EntityCache } from '../../processors/batch/entity-cache.ts'
import { factRow } from '../support/fact-rows.ts'
import { listWrites, storedRowsOf } from '../support/stored-logs.ts'

const layout = { width: 4, knownColumn: null, sources: [] }

/** Loaded, with one fact each, and used by one batch after the other. An entity weighs 8 rows and those that it has. */
function cacheOf(keys: readonly string[], rowsMax: number): EntityCache {
  const cache = createEntityCache(layout, { rowsMax })
  keys.forEach((key, i) => {
    const entity = cache.find(key)
    cache.put(entity, storedRowsOf([factRow(i, i, i).cells]))
    entity.usedBy = i
  })
  return cache
}

const insert = (cache: EntityCache, key: string, time: number) =>
  insertFact(cache.find(key).log!, factRow(time, time, time))
const isLoaded = (cache: EntityCache) => (key: string) => cache.find(key).log !== null

describe('the cache', () => {
  test('has one entity of a key, which is without a log until it is loaded', () => {
    const cache = cacheOf(['a'], 100)
    expect(['a', 'b'].map(isLoaded(cache))).toEqual([true, false])
    expect(cache.find('b')).toBe(cache.find('b'))
  })

  test('takes up what the store has', () => {
    const cache = createEntityCache(layout, { rowsMax: 100 })
    const entity = cache.find('a')
    cache.put(entity, storedRowsOf([Float64Array.of(5, 6, 7, 8)]))
    expect([...entity.log!.rows.subarray(0, 4)]).toEqual([5, 6, 7, 8])
    expect(listWrites(cache.takeWrites([entity]))).toEqual([])
  })

  test('writes what was inserted, once, and nothing else', () => {
    const cache = cacheOf(['a', 'b'], 100)
    const entity = cache.find('b')
    const row = factRow(7, 7, 7)
    insertFact(entity.log!, row)
    const bytes = Buffer.from(row.cells.buffer.slice(0))
    expect(listWrites(cache.takeWrites([entity]))).toEqual([{ key: 'b', kind: 'append', chunk: tail, bytes }])
    expect(listWrites(cache.takeWrites([entity]))).toEqual([])
  })

  test('keeps the writes of a batch until those of the next one are taken, too', () => {
    const cache = cacheOf(['a', 'b'], 100)
    insert(cache, 'a', 5)
    const first = cache.takeWrites([cache.find('a')])
    const taken = listWrites(first)
    expect(taken.length).toBe(1)
    insert(cache, 'b', 7)
    cache.takeWrites([cache.find('b')])
    expect(listWrites(first)).toEqual(taken)
  })

  test('evicts the longest unused once the budget is exceeded, until a tenth of it is free', () => {
    const cache = cacheOf(['a', 'b', 'c', 'd'], 4 * 9)
    cache.find('a').usedBy = 4
    cache.trim(5)
    expect(cache.entities).toBe(4)
    insert(cache, 'd', 9)
    cache.takeWrites([cache.find('d')])
    cache.trim(5)
    expect(cache.entities).toBe(3)
    expect(['a', 'c', 'd'].map(isLoaded(cache))).toEqual([true, true, true])
    expect(isLoaded(cache)('b')).toBe(false)
  })

  test('keeps what a batch touched that is not applied yet, even above the budget', () => {
    const cache = cacheOf(['a', 'b', 'c', 'd'], 0)
    for (const key of ['a', 'c']) cache.find(key).usedBy = 4
    cache.trim(4)
    expect(cache.entities).toBe(2)
    expect(['a', 'c'].map(isLoaded(cache))).toEqual([true, true])
  })
})
