/** The cache of entity logs: what must be loaded, what is written, what may be evicted. */
import { describe, expect, test } from 'vitest'
import { insertFact } from '../../feature-store/entity-log.ts'
import { tail } from '../../feature-store/step-writes.ts'
import { createEntityCache, type EntityCache } from '../../processors/batch/entity-cache.ts'
import { factRow } from '../support/fact-rows.ts'
import { listWrites, storedRowsOf } from '../support/stored-logs.ts'

const layout = { width: 4, knownColumn: null, sources: [] }

/** An entity weighs 8 rows and those that it has. */
function cacheOf(keys: readonly string[], rowsMax: number): EntityCache {
  const cache = createEntityCache(layout, { rowsMax })
  keys.forEach((key, i) => {
    cache.put(key, null)
    insertFact(cache.touch(key, i), factRow(i, i, i))
  })
  return cache
}

describe('the cache', () => {
  test('names what is missing, each key once', () => {
    const cache = cacheOf(['a'], 100)
    expect(cache.missing(['a', 'b', 'c', 'b'])).toEqual(['b', 'c'])
  })

  test('takes up what the store has', () => {
    const cache = createEntityCache(layout, { rowsMax: 100 })
    cache.put('a', storedRowsOf([Float64Array.of(5, 6, 7, 8)]))
    const log = cache.touch('a', 1)
    expect([...log.rows.subarray(0, 4)]).toEqual([5, 6, 7, 8])
    expect(listWrites(cache.takeWrites(['a']))).toEqual([])
  })

  test('writes what was inserted, once, and nothing else', () => {
    const cache = cacheOf(['a', 'b'], 100)
    const [bytes] = storedRowsOf([factRow(1, 1, 1).cells])
    expect(listWrites(cache.takeWrites(['b', 'unknown']))).toEqual([{ key: 'b', kind: 'set', chunk: tail, bytes }])
    expect(listWrites(cache.takeWrites(['b']))).toEqual([])
  })

  test('keeps the writes of a batch until those of the next one are taken, too', () => {
    const cache = cacheOf(['a', 'b'], 100)
    const first = cache.takeWrites(['a'])
    const taken = listWrites(first)
    insertFact(cache.touch('b', 7), factRow(7, 7, 7))
    cache.takeWrites(['b'])
    expect(listWrites(first)).toEqual(taken)
  })

  test('rejects an entity that was not loaded', () => {
    expect(() => cacheOf([], 100).touch('a', 1)).toThrow('entity a was not loaded before its batch')
  })

  test('evicts the least recently used until the budget is met', () => {
    const cache = cacheOf(['a', 'b', 'c', 'd'], 2 * 9)
    cache.touch('a', 4)
    cache.trim(5)
    expect(cache.entities).toBe(2)
    expect(cache.missing(['a', 'b', 'c', 'd'])).toEqual(['b', 'c'])
  })

  test('keeps what a batch touched that is not applied yet, even above the budget', () => {
    const cache = cacheOf(['a', 'b', 'c', 'd'], 0)
    cache.trim(2)
    expect(cache.missing(['a', 'b', 'c', 'd'])).toEqual(['a', 'b'])
    cache.touch('c', 4)
    cache.trim(4)
    expect(cache.missing(['a', 'b', 'c', 'd'])).toEqual(['a', 'b', 'd'])
  })
})
