/** `millrace features` against the real routes, over a `fetch` that needs no network. */
import { expect, test } from 'vitest'
import type { KeyAnswer, ReadRequest } from '../../feature-store/reader.ts'
import { featureRoutes } from '../../feature-store/routes.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { createHttpServer } from '../../runtime/http/server.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { call } from './call.ts'

const plan = compile(cardFraud)
const instant = Date.UTC(2018, 4, 1)
const place = { time: instant, order: Number.POSITIVE_INFINITY }
const base = {
  partition: 1,
  place,
  passed: true,
  status: 'complete',
  beforeRetention: [],
  failed: [],
  newestFactAgeMs: 5,
} as const

/** Answers every key from the list, and records the requests. */
function routesFor(items: readonly KeyAnswer[]) {
  const asked: Array<{ entity: string; keys: readonly string[]; request: ReadRequest }> = []
  const server = createHttpServer({ log: { info: () => undefined, warn: () => undefined, error: () => undefined } })
  const reader = {
    read: async (entity: string, keys: readonly string[], request: ReadRequest) => {
      asked.push({ entity, keys, request })
      return { ok: true, items } as const
    },
  }
  server.register(featureRoutes(reader, plan, { nowMs: () => 99 }))
  const fetchFrom: typeof fetch = async (input, init = {}) => {
    const { pathname } = new URL(String(input))
    const { statusCode, body } = await server.inject({
      method: 'POST',
      url: pathname,
      payload: String(init.body),
      headers: { 'content-type': 'application/json' },
    })
    return new Response(body, { status: statusCode })
  }
  return { asked, fetch: fetchFrom }
}

const known: KeyAnswer = {
  ...base,
  found: true,
  key: '596',
  facts: 12,
  features: { customerCount1d: 3, customerMean1d: 57.16, customerMean30d: null, customerCount30d: null },
  beforeRetention: ['customerCount30d'],
}
const unknown: KeyAnswer = { found: false, key: 'x', partition: 0 }

test('prints a column a key', async () => {
  const { asked, fetch } = routesFor([known, unknown])
  const args = [
    'features',
    'pipelines/card-fraud.ts',
    'customer',
    '596',
    'x',
    '--through',
    '2018-05-01',
    '--knowledge',
    'then',
  ]
  expect(await call(args, { fetch })).toEqual({
    code: 0,
    err: [],
    out: [
      'customer          596                        x',
      'reading           through, known then        unknown key',
      'instant           2018-05-01T00:00:00.000Z',
      'through           everything of the instant',
      'facts             12',
      'customerCount1d   3',
      'customerMean1d    57.16',
      'customerMean30d   missing',
      'customerCount30d  before retention',
    ],
  })
  const request = { at: { reading: 'through', instant }, knowledge: 'then' }
  expect(asked).toEqual([{ entity: 'customer', keys: ['596', 'x'], request }])
})

test('--json prints what the process answered', async () => {
  const { asked, fetch } = routesFor([known])
  const { code, out } = await call(['features', 'pipelines/card-fraud.ts', 'customer', '596', '--json'], { fetch })
  expect(code).toBe(0)
  expect(JSON.parse(out.join('\n'))).toMatchObject({
    entity: 'customer',
    items: [{ key: '596', instant: '2018-05-01T00:00:00.000Z' }],
  })
  expect(asked[0]!.request).toEqual({ at: { reading: 'now', wallMs: null }, knowledge: 'now' })
})

test('--as-of, --stream and --place say which event saw them so', async () => {
  const { asked, fetch } = routesFor([{ ...known, place: { time: instant, order: orderOf(0, 3, 17) }, passed: false }])
  const args = ['features', 'pipelines/card-fraud.ts', 'customer', '596']
  const { out } = await call([...args, '--as-of', '436381', '--stream', 'transactions'], { fetch })
  expect(out.slice(1, 4)).toEqual([
    'reading           asOf, known then',
    'instant           2018-05-01T00:00:00.000Z',
    'through           2018-05-01T00:00:00.000Z,transactions,3,17 so far',
  ])
  const shown = '2018-05-01T00:00:00.000Z,transactions,3,17'
  await call([...args, '--place', shown, '--knowledge', 'now'], { fetch })
  expect(asked.map(({ request }) => request)).toEqual([
    { at: { reading: 'asOf', id: '436381', stream: 0 }, knowledge: 'then' },
    { at: { reading: 'place', place: { time: instant, order: orderOf(0, 3, 17) } }, knowledge: 'now' },
  ])
})

test('a process that is not there', async () => {
  const rejectFetch: typeof fetch = async () => {
    throw new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED 127.0.0.1:1') })
  }
  const args = ['features', 'pipelines/card-fraud.ts', 'customer', '1', '--url', 'http://127.0.0.1:1']
  const { code, err } = await call(args, { fetch: rejectFetch })
  expect([code, err[0]]).toEqual([
    1,
    'error: No Millrace process answers at http://127.0.0.1:1 (connect ECONNREFUSED 127.0.0.1:1): ' +
      'start one with millrace run, or name another with --url.',
  ])
})

test('an address that is none, something that is no Millrace, and a failure of the process', async () => {
  const answering =
    (status: number, body: string): typeof fetch =>
    async () =>
      new Response(body, { status })
  const ask = async (fetchIt: typeof fetch, ...more: string[]) => {
    const { code, err } = await call(['features', 'pipelines/card-fraud.ts', 'customer', '1', ...more], {
      fetch: fetchIt,
    })
    return [code, err[0]]
  }
  expect(await ask(answering(200, '{}'), '--url', 'nowhere')).toEqual([
    2,
    "error: option '--url <url>' argument 'nowhere' is invalid. Expected an address such as http://127.0.0.1:8080.",
  ])
  expect(await ask(answering(200, '<html>'))).toEqual([
    1,
    'error: http://127.0.0.1:8080/features/customer did not answer JSON, so it is no Millrace: <html>.',
  ])
  const failure = JSON.stringify({ error: { code: 'redis_unreachable', message: 'Redis did not answer.' } })
  expect(await ask(answering(503, failure))).toEqual([
    1,
    'error: http://127.0.0.1:8080/features/customer: Redis did not answer.',
  ])
  const ahead = JSON.stringify({ error: { code: 'place_ahead', message: 'That lies ahead of the stream.' } })
  expect((await ask(answering(400, ahead)))[0]).toBe(2)
})
