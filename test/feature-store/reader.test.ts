import { describe, expect, it } from 'vitest'
import type { KeyAnswer, ReadRequest } from '../../feature-store/reader.ts'
import { hour, openShops, reached } from './shop-plan.ts'

const now: ReadRequest = { knowledge: 'now', clock: 'event', nowMs: reached + hour }

async function readOne(key: string, request: ReadRequest): Promise<KeyAnswer> {
  const { reader } = await openShops()
  const answer = await reader.read('shop', [key], request)
  if (!answer.ok) throw new Error(answer.problem.code)
  return answer.items[0]!
}

describe('feature reader', () => {
  it('answers as of the event time that the key’s task has reached', async () => {
    expect(await readOne('a1', now)).toEqual({
      found: true,
      key: 'a1',
      partition: 0,
      instant: reached,
      features: { lastHour: 1, meanDay: 10.875, reportsDay: 1, fragile: 1 },
      status: 'complete',
      beforeRetention: [],
      failed: [],
      facts: 4,
      newestFactAgeMs: 0.5 * hour,
    })
  })

  it('answers as of the wall clock on request', async () => {
    expect(await readOne('a1', { ...now, clock: 'wall' })).toMatchObject({
      instant: reached + hour,
      features: { lastHour: 0, meanDay: 10.875, reportsDay: 1, fragile: 0 },
      newestFactAgeMs: 1.5 * hour,
    })
  })

  it('answers as of a past instant, with what is known now or with what was known then', async () => {
    const asOf = reached - 2 * hour
    expect(await readOne('a1', { ...now, asOf })).toMatchObject({
      instant: asOf,
      features: { lastHour: 0, meanDay: 20.5, reportsDay: 1 },
      facts: 3,
      newestFactAgeMs: hour,
    })
    expect(await readOne('a1', { ...now, asOf, knowledge: 'then' })).toMatchObject({
      features: { lastHour: 0, meanDay: 20.5, reportsDay: 0 },
      facts: 2,
    })
    expect(await readOne('a1', { ...now, asOf: reached - hour, knowledge: 'then' })).toMatchObject({
      features: { reportsDay: 1 },
    })
  })

  it('gives no value for a window that begins before retention, and the others all the same', async () => {
    expect(await readOne('a1', { ...now, asOf: reached - 30 * hour })).toEqual({
      found: true,
      key: 'a1',
      partition: 0,
      instant: reached - 30 * hour,
      features: { lastHour: 1, meanDay: null, reportsDay: null, fragile: 1 },
      status: 'before_retention',
      beforeRetention: ['meanDay', 'reportsDay'],
      failed: [],
      facts: 1,
      newestFactAgeMs: 0,
    })
    expect(await readOne('a1', { ...now, asOf: reached - 24 * hour })).toMatchObject({ status: 'complete' })
    expect(await readOne('a1', { ...now, asOf: reached - 24 * hour - 1 })).toMatchObject({ status: 'before_retention' })
    expect(await readOne('a1', { ...now, asOf: 0 })).toMatchObject({
      features: { lastHour: null, meanDay: null, reportsDay: null, fragile: null },
      facts: 0,
      newestFactAgeMs: null,
    })
  })

  it('reports which derive function threw, and that a value is missing', async () => {
    expect(await readOne('b1', now)).toMatchObject({
      partition: 1,
      features: { lastHour: 2, meanDay: null, reportsDay: 0, fragile: null },
      failed: [{ feature: 'fragile', message: 'two is too many' }],
      status: 'complete',
      facts: 2,
      newestFactAgeMs: 0,
    })
  })

  it('does not know a key without facts, nor one whose facts are dead, swept or not', async () => {
    expect(await readOne('a9', now)).toEqual({ found: false, key: 'a9', partition: 0 })
    expect(await readOne('a2', now)).toEqual({ found: false, key: 'a2', partition: 0 })
  })

  it('reads keys of several partitions in the order requested', async () => {
    const { reader } = await openShops()
    const answer = await reader.read('shop', ['b1', 'a9', 'a1', 'b9', 'a1'], now)
    expect(answer.ok && answer.items.map(({ key, found }) => [key, found])).toEqual([
      ['b1', true],
      ['a9', false],
      ['a1', true],
      ['b9', false],
      ['a1', true],
    ])
  })

  it('knows nothing of anybody where the store holds nothing', async () => {
    const { reader, store } = await openShops()
    store.empty()
    const answer = await reader.read('shop', ['a1'], { ...now, asOf: reached + hour })
    expect(answer).toEqual({ ok: true, items: [{ found: false, key: 'a1', partition: 0 }] })
  })

  it('rejects an unknown entity and an instant ahead of the stream', async () => {
    const { reader } = await openShops()
    expect(await reader.read('shops', ['a1'], now)).toEqual({
      ok: false,
      problem: { code: 'entity_unknown', expected: ['shop'], received: 'shops' },
    })
    expect(await reader.read('shop', ['a1'], { ...now, asOf: reached + 1 })).toEqual({
      ok: false,
      problem: { code: 'as_of_ahead', expected: reached, received: reached + 1 },
    })
  })
})
