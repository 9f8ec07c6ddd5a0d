import { describe, expect, it } from 'vitest'
import type { KeyAnswer, ReadRequest } from '../../feature-store/reader.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import { hour, openShops, reached, reachedOrder } from './shop-plan.ts'

const now: ReadRequest = { at: { reading: 'now', wallMs: null }, knowledge: 'now' }
const through = (instant: number): ReadRequest => ({ at: { reading: 'through', instant }, knowledge: 'now' })
const asOf = (id: string, stream = 0): ReadRequest => ({ at: { reading: 'asOf', id, stream }, knowledge: 'then' })
/** After every event of the instant. */
const all = (time: number) => ({ time, order: Number.POSITIVE_INFINITY })

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
      place: all(reached),
      passed: false,
      features: { lastHour: 1, meanDay: 10.875, reportsDay: 1, fragile: 1 },
      status: 'complete',
      beforeRetention: [],
      failed: [],
      facts: 4,
      newestFactAgeMs: 0.5 * hour,
    })
  })

  it('answers as of the wall clock on request', async () => {
    expect(await readOne('a1', { ...now, at: { reading: 'now', wallMs: reached + hour } })).toMatchObject({
      place: all(reached + hour),
      features: { lastHour: 0, meanDay: 10.875, reportsDay: 1, fragile: 0 },
      newestFactAgeMs: 1.5 * hour,
    })
  })

  it('answers as of a past instant, with what is known now or with what was known then', async () => {
    const instant = reached - 2 * hour
    expect(await readOne('a1', through(instant))).toMatchObject({
      place: all(instant),
      passed: true,
      features: { lastHour: 0, meanDay: 20.5, reportsDay: 1 },
      facts: 3,
      newestFactAgeMs: hour,
    })
    expect(await readOne('a1', { ...through(instant), knowledge: 'then' })).toMatchObject({
      features: { lastHour: 0, meanDay: 20.5, reportsDay: 0 },
      facts: 2,
    })
    expect(await readOne('a1', { ...through(reached - hour), knowledge: 'then' })).toMatchObject({
      features: { reportsDay: 1 },
    })
  })

  it('gives no value for a window that begins before retention, and the others all the same', async () => {
    expect(await readOne('a1', through(reached - 30 * hour))).toEqual({
      found: true,
      key: 'a1',
      partition: 0,
      place: all(reached - 30 * hour),
      passed: true,
      features: { lastHour: 1, meanDay: null, reportsDay: null, fragile: 1 },
      status: 'before_retention',
      beforeRetention: ['meanDay', 'reportsDay'],
      failed: [],
      facts: 1,
      newestFactAgeMs: 0,
    })
    expect(await readOne('a1', through(reached - 24 * hour))).toMatchObject({ status: 'complete' })
    expect(await readOne('a1', through(reached - 24 * hour - 1))).toMatchObject({ status: 'before_retention' })
    expect(await readOne('a1', through(0))).toMatchObject({
      features: { lastHour: null, meanDay: null, reportsDay: null, fragile: null },
      facts: 0,
      newestFactAgeMs: null,
    })
  })

  it('answers as of an event, found among the facts of the keys, and as of no other', async () => {
    expect(await readOne('a1', asOf('p2'))).toMatchObject({
      place: { time: reached - 3 * hour, order: orderOf(0, 0, 1) },
      passed: true,
      features: { lastHour: 1, meanDay: 20.5, reportsDay: 0 },
      facts: 2,
      newestFactAgeMs: 0,
    })
    const { reader } = await openShops()
    const unknown = { code: 'event_unknown', id: 'p2', stream: 1, keptFrom: reached - 48 * hour }
    expect(await reader.read('shop', ['a1'], asOf('p2', 1))).toEqual({ ok: false, problem: unknown })
    expect(await reader.read('shop', ['a1'], asOf('p2', 2))).toEqual({
      ok: false,
      problem: { code: 'stream_unplaced', stream: 2, expected: [0, 1] },
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
    const answer = await reader.read('shop', ['a1'], through(reached + hour))
    expect(answer).toEqual({ ok: true, items: [{ found: false, key: 'a1', partition: 0 }] })
  })

  it('rejects an unknown entity and an instant ahead of the stream', async () => {
    const { reader } = await openShops()
    expect(await reader.read('shops', ['a1'], now)).toEqual({
      ok: false,
      problem: { code: 'entity_unknown', expected: ['shop'], received: 'shops' },
    })
    expect(await reader.read('shop', ['a1'], through(reached + 1))).toEqual({
      ok: false,
      problem: { code: 'place_ahead', reached: { time: reached, order: reachedOrder }, place: all(reached + 1) },
    })
  })
})
