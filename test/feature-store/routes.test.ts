import type { InjectOptions } from 'fastify'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FeatureReader } from '../../feature-store/reader.ts'
import { featureRoutes } from '../../feature-store/routes.ts'
import { createHttpServer } from '../../runtime/http/server.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { hour, openShops, plan, reached } from './shop-plan.ts'

async function ask(request: InjectOptions | string, reader?: FeatureReader) {
  const app = createHttpServer({ log: { info: () => undefined, warn: () => undefined, error: () => undefined } })
  onTestFinished(() => app.close())
  const used = reader ?? (await openShops()).reader
  await app.register(featureRoutes(used, plan, { nowMs: () => reached + hour }))
  const reply = await app.inject(request)
  return { status: reply.statusCode, body: reply.json() }
}

const post = (payload: unknown, url = '/features/shop') =>
  ask({ method: 'POST', url, payload: JSON.stringify(payload), headers: { 'content-type': 'application/json' } })

function wrong(path: string, expected: string, received: unknown) {
  return {
    status: 400,
    body: { error: expect.objectContaining({ code: 'request_invalid', path, expected, received }) },
  }
}

const keyText = 'a key as text of 1 to 1024 characters'
const instantText = 'an RFC 3339 instant with a zone, or ms since 1970, from the year 1 to 9999'
const eventText = 'the id of an event; an instant is asked for with through=<instant>'
const placeText = 'the place of an event: <instant>,<stream>,<partition>,<offset>'

describe('feature routes', () => {
  it('list what can be read', async () => {
    expect(await ask('/entities')).toEqual({
      status: 200,
      body: {
        entities: [
          {
            name: 'shop',
            features: ['lastHour', 'meanDay', 'reportsDay', 'fragile'],
            aggregates: [
              { name: 'count_payments_1h', kind: 'count', stream: 'payments', overMs: hour, lagMs: 0 },
              { name: 'mean_amount_24h', kind: 'mean', stream: 'payments', overMs: 24 * hour, lagMs: 0 },
              { name: 'count_reports_24h', kind: 'count', stream: 'reports', overMs: 24 * hour, lagMs: 0 },
            ],
            retentionMs: 48 * hour,
          },
        ],
      },
    })
  })

  it('give the features of a key', async () => {
    expect(await ask('/features/shop/a1')).toEqual({
      status: 200,
      body: {
        entity: 'shop',
        found: true,
        key: 'a1',
        partition: 0,
        reading: 'now',
        knowledge: 'now',
        instant: '2024-03-10T00:00:00.000Z',
        place: null,
        passed: false,
        features: { lastHour: 1, meanDay: 10.875, reportsDay: 1, fragile: 1 },
        status: 'complete',
        beforeRetention: [],
        failed: [],
        facts: 4,
        newestFactAgeMs: 0.5 * hour,
      },
    })
  })

  it('take an instant, knowledge and clock', async () => {
    const through = reached - 2 * hour
    const { body } = await ask(`/features/shop/a1?through=${through}&knowledge=then`)
    expect(body).toMatchObject({
      reading: 'through',
      knowledge: 'then',
      instant: '2024-03-09T22:00:00.000Z',
      place: null,
      passed: true,
      features: { reportsDay: 0 },
    })
    const text = encodeURIComponent('2024-03-09T23:00:00+01:00')
    expect((await ask(`/features/shop/a1?through=${text}`)).body).toMatchObject({
      knowledge: 'now',
      instant: '2024-03-09T22:00:00.000Z',
    })
    expect((await ask('/features/shop/a1?clock=wall')).body.instant).toBe('2024-03-10T01:00:00.000Z')
    expect((await post({ keys: ['a1'], through, knowledge: 'then' })).body.items[0].features.reportsDay).toBe(0)
    expect((await post({ keys: ['a1'], clock: 'wall' })).body.items[0].instant).toBe('2024-03-10T01:00:00.000Z')
  })

  it('take an event, by its id or its place, and count what it saw', async () => {
    const asOf = await ask('/features/shop/a1?asOf=p2')
    expect(asOf).toMatchObject({
      status: 200,
      body: {
        reading: 'asOf',
        knowledge: 'then',
        instant: '2024-03-09T21:00:00.000Z',
        place: '2024-03-09T21:00:00.000Z,payments,0,1',
        passed: true,
        features: { lastHour: 1, reportsDay: 0 },
        facts: 2,
      },
    })
    // The report counts at the payment and comes after it in canonical order, but through the whole instant it counts.
    expect((await ask('/features/shop/a1?asOf=p2&knowledge=now')).body.features.reportsDay).toBe(0)
    const instant = '2024-03-09T21:00:00Z'
    expect((await ask(`/features/shop/a1?through=${instant}`)).body.features.reportsDay).toBe(1)
    const byPlace = await ask(`/features/shop/a1?place=${asOf.body.place}`)
    expect(byPlace.body).toEqual({ ...asOf.body, reading: 'place' })
    // The place of a report is when it became known, not the instant at which it counts.
    expect((await ask('/features/shop/a1?asOf=r1&stream=reports')).body).toMatchObject({
      place: '2024-03-09T23:00:00.000Z,reports,0,3',
      features: { lastHour: 0, reportsDay: 1 },
    })
    // An event of one key is a place for all of the request.
    expect((await post({ keys: ['a1', 'b1'], asOf: 'p5' })).status).toBe(200)
    expect(
      (await post({ keys: ['a1', 'b1'], asOf: 'p2' })).body.items.map((item: { facts: number }) => item.facts),
    ).toEqual([2, 0])
  })

  it('say why the place of an event is not known', async () => {
    const unknown = await ask('/features/shop/a1?asOf=p4')
    expect(unknown).toEqual({
      status: 404,
      body: {
        error: {
          code: 'event_unknown',
          message:
            'Nothing is kept of the payments event "p4" with the shop asked for: it belongs to another, was rejected, was not read yet, ' +
            'or is older than 2024-03-08T00:00:00.000Z, from when facts are kept. A known place can be given as ' +
            'place=<instant>,<stream>,<partition>,<offset>.',
          path: '/asOf',
          expected: eventText,
          received: 'p4',
        },
      },
    })
    // p4 is beyond retention; r1 is of the other stream.
    expect((await ask('/features/shop/a2?asOf=p4')).body.error.code).toBe('event_unknown')
    expect((await ask('/features/shop/a1?asOf=r1')).body.error.code).toBe('event_unknown')
  })

  it('tell who asks asOf for an instant to ask through', async () => {
    const then = '2024-03-09T22:00:00Z'
    expect(await ask(`/features/shop/a1?asOf=${then}`)).toEqual(wrong('/asOf', eventText, then))
    expect(await ask(`/features/shop/zz?asOf=${then}`)).toEqual(wrong('/asOf', eventText, then))
    expect(await ask(`/features/shop/a1?asOf=${reached}`)).toEqual(wrong('/asOf', eventText, String(reached)))
    expect(await post({ keys: ['a1'], asOf: reached })).toEqual(wrong('/asOf', eventText, reached))
    expect(await post({ keys: ['a1'], asOf: null })).toEqual(wrong('/asOf', eventText, null))
    expect(eventText).toContain('through=<instant>')
  })

  it('take one place only, and nothing without effect', async () => {
    const only = 'the only one of asOf, through and place'
    expect(await ask('/features/shop/a1?asOf=p2&through=1')).toEqual(wrong('/through', only, '1'))
    expect(await ask('/features/shop/a1?stream=payments')).toEqual(
      wrong('/stream', 'given together with asOf', 'payments'),
    )
    expect(await ask('/features/shop/a1?through=1&clock=wall')).toEqual(
      wrong('/clock', 'left out beside through', 'wall'),
    )
    expect(await ask('/features/shop/a1?asOf=p2&stream=refunds')).toEqual(
      wrong('/stream', 'one of payments, reports', 'refunds'),
    )
    for (const place of ['p2', '2024-03-09,payments,0,1', `${reached},payouts,0,1`, `${reached},payments,1024,1`]) {
      expect(await ask(`/features/shop/a1?place=${place}`)).toEqual(wrong('/place', placeText, place))
    }
  })

  it('give nulls before retention', async () => {
    expect(await ask(`/features/shop/a1?through=${reached - 30 * hour}`)).toMatchObject({
      status: 200,
      body: { status: 'before_retention', features: { lastHour: 1, meanDay: null, reportsDay: null } },
    })
  })

  it('give the features of many keys, known or not', async () => {
    const { status, body } = await post({ keys: ['b1', 'a9', 'a1'] })
    expect([status, body.entity]).toEqual([200, 'shop'])
    expect(body.items.map((item: { key: string; found: boolean }) => [item.key, item.found])).toEqual([
      ['b1', true],
      ['a9', false],
      ['a1', true],
    ])
    expect(body.items[1]).toEqual({ found: false, key: 'a9', partition: 0 })
  })

  it('reject an unknown entity and an unknown key', async () => {
    const unknown = {
      status: 404,
      body: {
        error: {
          code: 'entity_unknown',
          message: 'There is no entity shops; known are shop.',
          path: '/entity',
          expected: ['shop'],
          received: 'shops',
        },
      },
    }
    expect(await ask('/features/shops/a1')).toEqual(unknown)
    expect(await post({ keys: ['a1'] }, '/features/shops')).toEqual(unknown)
    expect(await ask('/features/shop/a%2F9')).toEqual({
      status: 404,
      body: {
        error: {
          code: 'key_unknown',
          message: 'shop a/9 has no facts within retention (partition 0).',
          path: '/key',
          received: 'a/9',
        },
      },
    })
  })

  it('reject what is ahead of the stream', async () => {
    expect(await ask(`/features/shop/a1?through=${reached + 1}`)).toEqual({
      status: 400,
      body: {
        error: {
          code: 'place_ahead',
          message: '2024-03-10T00:00:00.001Z lies ahead of the stream, which has come to 2024-03-10T00:00:00.000Z.',
          path: '/through',
          expected: 'at most 2024-03-10T00:00:00.000Z',
          received: '2024-03-10T00:00:00.001Z',
        },
      },
    })
    // Of the same instant, but after the last event that was folded.
    expect(await ask(`/features/shop/a1?place=${reached},reports,0,0`)).toMatchObject({
      status: 400,
      body: {
        error: {
          code: 'place_ahead',
          path: '/place',
          expected: 'at most 2024-03-10T00:00:00.000Z,payments,1,1',
          received: '2024-03-10T00:00:00.000Z,reports,0,0',
        },
      },
    })
  })

  it('reject any instant before the first event of a task', async () => {
    const [frontier, place] = [
      { time: Number.NEGATIVE_INFINITY, order: -1 },
      { time: reached, order: Number.POSITIVE_INFINITY },
    ]
    const reader: FeatureReader = {
      read: async () => ({ ok: false, problem: { code: 'place_ahead', reached: frontier, place } }),
    }
    expect(await ask(`/features/shop/a1?through=${reached}`, reader)).toEqual({
      status: 400,
      body: {
        error: {
          code: 'place_ahead',
          message: '2024-03-10T00:00:00.000Z lies ahead of the stream, which has no event yet.',
          path: '/through',
          expected: 'nothing before the first event',
          received: '2024-03-10T00:00:00.000Z',
        },
      },
    })
  })

  it('say of a stream without facts where else an event is found', async () => {
    const reader: FeatureReader = {
      read: async () => ({ ok: false, problem: { code: 'stream_unplaced', stream: 0, expected: [1] } }),
    }
    expect(await ask('/features/shop/a1?asOf=p2', reader)).toMatchObject({
      status: 400,
      body: { error: { code: 'stream_unplaced', path: '/stream', expected: ['reports'], received: 'payments' } },
    })
  })

  it('reject what is not an instant', async () => {
    for (const through of [
      'yesterday',
      '2024-03-10',
      '2024-03-10T00:00:00',
      '1.5',
      '',
      '9e99',
      '99999999999999999',
      '-62135596800001',
      '253402300800000',
    ]) {
      expect(await ask(`/features/shop/a1?through=${through}`)).toEqual(wrong('/through', instantText, through))
    }
    expect(await post({ keys: ['a1'], through: 1.5 })).toEqual(wrong('/through', instantText, 1.5))
    expect(await post({ keys: ['a1'], through: null })).toEqual(wrong('/through', instantText, null))
    expect(await post({ keys: ['a1'], through: true })).toEqual(wrong('/through', instantText, true))
  })

  it('reject other wrong parameters, and never coerce them', async () => {
    expect(await ask('/features/shop/a1?knowledge=all')).toEqual(wrong('/knowledge', 'one of now, then', 'all'))
    expect(await ask('/features/shop/a1?as_of=1')).toEqual(
      wrong('/as_of', 'one of asOf, stream, through, place, knowledge, clock', 'as_of'),
    )
    expect(await post({ keys: ['a1'], clock: 'sun' })).toEqual(wrong('/clock', 'one of event, wall', 'sun'))
    expect(await post({ keys: 'a1' })).toEqual(wrong('/keys', 'a list of 1 to 1000 keys', 'a1'))
    expect(await post({})).toEqual(wrong('/keys', 'a list of 1 to 1000 keys', null))
    expect(await post(['a1'])).toEqual(wrong('', 'an object with keys', ['a1']))
    expect(await post({ keys: ['a1', 7] })).toEqual(wrong('/keys/1', keyText, 7))
    expect(await post({ keys: ['a1'], asof: 1 })).toEqual(
      wrong('/asof', 'one of keys, through, asOf, stream, place, knowledge, clock', 'asof'),
    )
    expect(await post({ keys: [] })).toEqual(wrong('/keys', 'a list of 1 to 1000 keys', []))
    expect(await post({ keys: [''] })).toEqual(wrong('/keys/0', keyText, ''))
    const tooMany = await post({ keys: new Array(1_001).fill('a1') })
    expect(tooMany).toMatchObject({
      status: 400,
      body: { error: { path: '/keys', expected: 'a list of 1 to 1000 keys' } },
    })
    const broken = await ask({
      method: 'POST',
      url: '/features/shop',
      payload: '{"keys":',
      headers: { 'content-type': 'application/json' },
    })
    expect(broken).toMatchObject({ status: 400, body: { error: { code: 'request_invalid' } } })
  })

  it('answer 503 when the store fails, and leave our own mistakes to the server', async () => {
    const failing = (error: Error): FeatureReader => ({ read: () => Promise.reject(error) })
    const away = new PipelineError('redis_unreachable', 'No answer to MGET from Redis at redis:6379 (limit 5000 ms)')
    expect(await ask('/features/shop/a1', failing(away))).toEqual({
      status: 503,
      body: {
        error: { code: 'redis_unreachable', message: `${away.message}. Check REDIS_URL and that Redis is running.` },
      },
    })
    expect((await ask('/features/shop/a1', failing(new Error('a mistake')))).status).toBe(500)
  })
})
