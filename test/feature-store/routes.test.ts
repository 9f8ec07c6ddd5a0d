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
        instant: '2024-03-10T00:00:00.000Z',
        features: { lastHour: 1, meanDay: 10.875, reportsDay: 1, fragile: 1 },
        status: 'complete',
        beforeRetention: [],
        failed: [],
        facts: 4,
        newestFactAgeMs: 0.5 * hour,
      },
    })
  })

  it('take instant, knowledge and clock', async () => {
    const asOf = reached - 2 * hour
    const { body } = await ask(`/features/shop/a1?asOf=${asOf}&knowledge=then`)
    expect(body).toMatchObject({ instant: '2024-03-09T22:00:00.000Z', features: { reportsDay: 0 } })
    const text = encodeURIComponent('2024-03-09T23:00:00+01:00')
    expect((await ask(`/features/shop/a1?asOf=${text}`)).body.instant).toBe('2024-03-09T22:00:00.000Z')
    expect((await ask('/features/shop/a1?clock=wall')).body.instant).toBe('2024-03-10T01:00:00.000Z')
    expect((await post({ keys: ['a1'], asOf, knowledge: 'then' })).body.items[0].features.reportsDay).toBe(0)
    expect((await post({ keys: ['a1'], clock: 'wall' })).body.items[0].instant).toBe('2024-03-10T01:00:00.000Z')
  })

  it('give nulls before retention', async () => {
    expect(await ask(`/features/shop/a1?asOf=${reached - 30 * hour}`)).toMatchObject({
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

  it('reject an instant ahead of the stream', async () => {
    expect(await ask(`/features/shop/a1?asOf=${reached + 1}`)).toEqual({
      status: 400,
      body: {
        error: {
          code: 'as_of_ahead',
          message:
            'asOf 2024-03-10T00:00:00.001Z lies ahead of the stream, which has come to 2024-03-10T00:00:00.000Z.',
          path: '/asOf',
          expected: 'at most 2024-03-10T00:00:00.000Z',
          received: '2024-03-10T00:00:00.001Z',
        },
      },
    })
  })

  it('reject any instant before the first event of a task', async () => {
    const reader: FeatureReader = {
      read: async () => ({
        ok: false,
        problem: { code: 'as_of_ahead', expected: Number.NEGATIVE_INFINITY, received: reached },
      }),
    }
    expect(await ask(`/features/shop/a1?asOf=${reached}`, reader)).toEqual({
      status: 400,
      body: {
        error: {
          code: 'as_of_ahead',
          message: 'asOf 2024-03-10T00:00:00.000Z lies ahead of the stream, which has no event yet.',
          path: '/asOf',
          expected: 'nothing before the first event',
          received: '2024-03-10T00:00:00.000Z',
        },
      },
    })
  })

  it('reject what is not an instant', async () => {
    for (const asOf of [
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
      expect(await ask(`/features/shop/a1?asOf=${asOf}`)).toEqual(wrong('/asOf', instantText, asOf))
    }
    expect(await post({ keys: ['a1'], asOf: 1.5 })).toEqual(wrong('/asOf', instantText, 1.5))
    expect(await post({ keys: ['a1'], asOf: null })).toEqual(wrong('/asOf', instantText, null))
    expect(await post({ keys: ['a1'], asOf: true })).toEqual(wrong('/asOf', instantText, true))
  })

  it('reject other wrong parameters, and never coerce them', async () => {
    expect(await ask('/features/shop/a1?knowledge=all')).toEqual(wrong('/knowledge', 'one of now, then', 'all'))
    expect(await ask('/features/shop/a1?as_of=1')).toEqual(wrong('/as_of', 'one of asOf, knowledge, clock', 'as_of'))
    expect(await post({ keys: ['a1'], clock: 'sun' })).toEqual(wrong('/clock', 'one of event, wall', 'sun'))
    expect(await post({ keys: 'a1' })).toEqual(wrong('/keys', 'a list of 1 to 1000 keys', 'a1'))
    expect(await post({})).toEqual(wrong('/keys', 'a list of 1 to 1000 keys', null))
    expect(await post(['a1'])).toEqual(wrong('', 'an object with keys', ['a1']))
    expect(await post({ keys: ['a1', 7] })).toEqual(wrong('/keys/1', keyText, 7))
    expect(await post({ keys: ['a1'], asof: 1 })).toEqual(wrong('/asof', 'one of keys, asOf, knowledge, clock', 'asof'))
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
