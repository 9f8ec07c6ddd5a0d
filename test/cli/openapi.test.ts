/** The description of the HTTP API: valid by a validator, derived from the definition, and what the server really answers. */
import { validate } from '@readme/openapi-parser'
import { Ajv2020 } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import type { InjectOptions } from 'fastify'
import { Registry } from 'prom-client'
import { describe, expect, onTestFinished, test } from 'vitest'
import { describePlan } from '../../cli/derive/openapi.ts'
import { createHttp } from '../../cli/run/http.ts'
import type { FeatureReader } from '../../feature-store/reader.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Producer } from '../../runtime/broker.ts'
import type { Pipeline } from '../../schemas/definition/definition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { openShops, reached, plan as shops } from '../feature-store/shop-plan.ts'
import { clicksPipeline } from '../support/clicks.ts'
import { call } from './call.ts'

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly responses: Readonly<Record<string, { content: Record<string, { schema: object }> }>>
}

interface Document {
  readonly openapi: string
  readonly info: object
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Record<string, unknown>>> }
}

async function documentOf(pipeline: Pipeline): Promise<Document> {
  return JSON.parse(await describePlan(compile(pipeline))) as Document
}

describe('the document', () => {
  test.each([
    ['card-fraud', cardFraud],
    ['a small pipeline', clicksPipeline({ stages: 1 })],
  ])('of %s is valid', async (_, pipeline) => {
    const result = await validate(structuredClone(await documentOf(pipeline)) as never)
    expect(result).toMatchObject({ valid: true })
  })

  test('a broken one is not, so that the validator is worth something', async () => {
    const broken = structuredClone(await documentOf(cardFraud)) as unknown as { paths: Record<string, unknown> }
    broken.paths['/metrics'] = { get: { responses: { 200: {} } } }
    expect((await validate(broken as never)).valid).toBe(false)
  })

  test('has every route, with what it does and every answer in words', async () => {
    const { openapi, info, paths, components } = await documentOf(cardFraud)
    expect(openapi).toBe('3.1.0')
    expect(info).toMatchObject({ title: 'card-fraud', version: '1' })
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { operationId }]) => `${method} ${path} ${operationId}`),
    )
    const names = operations.map((operation) => operation.split(' ').at(-1))
    expect(new Set(names).size).toBe(names.length)
    expect(operations).toEqual(
      expect.arrayContaining([
        'get /entities entities',
        'get /features/customer/{key} customerFeatures',
        'get /features/terminal/{key} terminalFeatures',
        'get /health/live live',
        'get /health/ready ready',
        'get /metrics metrics',
        'get /openapi.json openApi',
        'post /features/customer customerFeaturesOfMany',
        'post /features/terminal terminalFeaturesOfMany',
        'post /streams/chargebacks/events send_chargebacks',
        'post /streams/transactions/events send_transactions',
      ]),
    )
    for (const { summary, responses } of Object.values(paths).flatMap((methods) => Object.values(methods))) {
      expect(summary).toMatch(/\.$/)
      expect(JSON.stringify(responses)).not.toContain('Default Response')
    }
    expect(Object.keys(components.schemas).sort()).toEqual([
      'event.chargebacks',
      'event.transactions',
      'failure',
      'features.customer',
      'features.customer.response',
      'features.terminal',
      'features.terminal.response',
      'intake.answer',
    ])
  })

  test('describes events and features as the definition does', async () => {
    const { components } = await documentOf(cardFraud)
    const { properties, required } = components.schemas['event.transactions'] as {
      properties: Record<string, object>
      required: string[]
    }
    expect(required).toEqual(['txId', 'customerId', 'terminalId', 'amount', 'at'])
    expect(properties.txId).toMatchObject({ type: 'string', minLength: 1, maxLength: 256 })
    expect(properties.amount).toEqual({
      description: 'a finite number >= 0 with at most 2 decimals',
      type: 'number',
      minimum: 0,
      maximum: 90_071_992_547_409.91,
      examples: [12.5],
    })
    expect(properties.at).toMatchObject({
      anyOf: [
        { type: 'string', format: 'date-time' },
        { type: 'integer', minimum: Date.UTC(1973, 0), maximum: Date.UTC(2200, 0) - 1 },
      ],
    })
    const features = (components.schemas['features.terminal'] as { properties: { features: { required: string[] } } })
      .properties.features
    expect(features.required).toEqual([
      'terminalCount1d',
      'terminalRisk1d',
      'terminalCount7d',
      'terminalRisk7d',
      'terminalCount30d',
      'terminalRisk30d',
    ])
  })

  test('is what the command prints', async () => {
    const { code, out } = await call(['openapi', 'pipelines/card-fraud.ts'])
    expect([code, JSON.parse(out.join('\n'))]).toEqual([0, await documentOf(cardFraud)])
  })
})

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
const json = { 'content-type': 'application/json' }

/** The features of `shop-plan.ts`, which have values, and the streams of card fraud. */
const fraud = compile(cardFraud)
const plan: Plan = {
  ...fraud,
  stages: shops.stages,
  entityStages: shops.entityStages,
  slots: shops.slots,
  features: shops.features,
}

/** Sends a request; the answer must be one that the document of the same server describes. */
async function described(
  asked: InjectOptions,
  more: { reader?: FeatureReader; producer?: Pick<Producer, 'send'>; isStopping?: boolean } = {},
) {
  const server = createHttp({
    plan,
    reader: more.reader ?? (await openShops()).reader,
    producer: more.producer ?? { send: async () => undefined },
    partitionsOf: () => 2,
    registry: new Registry(),
    log,
    nowMs: () => reached,
    misfit: () => null,
    worker: {
      state: () => ({
        tasks: [{ stage: shops.stages[0]!, partition: 0, isRestoring: false }] as never,
        isReady: true,
        early: null,
        overtaken: null,
      }),
    },
    checks: [],
    isStopping: () => more.isStopping ?? false,
  })
  onTestFinished(() => server.close())
  const reply = await server.inject(asked)
  const document = (await server.inject('/openapi.json')).json() as Document
  const method = String(asked.method ?? 'GET').toLowerCase()
  const path = Object.keys(document.paths).find((one) =>
    new RegExp(`^${one.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(String(asked.url).split('?')[0]!),
  )!
  const { content } = document.paths[path]![method]!.responses[reply.statusCode]!
  const type = String(reply.headers['content-type']).split(';')[0]!
  const ajv = new Ajv2020({ strict: false })
  ajvFormats.default(ajv)
  const check = ajv.compile({ ...content[type]!.schema, components: document.components })
  const body: unknown = type === 'application/json' ? reply.json() : reply.body
  expect([check(body), check.errors]).toEqual([true, null])
  return { status: reply.statusCode, body }
}

describe('answers are as described:', () => {
  const away = new PipelineError('redis_unreachable', 'No answer')
  const noKafka = new PipelineError('kafka_unreachable', 'No answer')
  const stream = plan.scored.name
  const events = `/streams/${stream}/events`
  const post = (url: string, payload: unknown): InjectOptions => ({
    method: 'POST',
    url,
    headers: json,
    payload: JSON.stringify(payload),
  })

  test.each<[string, InjectOptions, number, Parameters<typeof described>[1]?]>([
    ['entities', { url: '/entities' }, 200],
    ['features of a key', { url: '/features/shop/a1' }, 200],
    ['features before retention', { url: `/features/shop/a1?through=${reached - 30 * 3_600_000}` }, 200],
    ['features as of an event', { url: '/features/shop/a1?asOf=p2' }, 200],
    ['an unknown event', { url: '/features/shop/a1?asOf=zz' }, 404],
    ['an unknown event of many', post('/features/shop', { keys: ['a1'], asOf: 'zz' }), 404],
    ['an unknown key', { url: '/features/shop/zz' }, 404],
    ['a wrong query', { url: '/features/shop/a1?through=soon' }, 400],
    ['features of many keys', post('/features/shop', { keys: ['a1', 'zz'] }), 200],
    ['a wrong body', post('/features/shop', { keys: [] }), 400],
    ['an unknown type', { ...post('/features/shop', {}), headers: { 'content-type': 'text/csv' } }, 415],
    ['Redis away', { url: '/features/shop/a1' }, 503, { reader: { read: () => Promise.reject(away) } }],
    [
      'a mistake of ours',
      { url: '/features/shop/a1' },
      500,
      { reader: { read: () => Promise.reject(new Error('x')) } },
    ],
    ['live', { url: '/health/live' }, 200],
    ['ready', { url: '/health/ready' }, 200],
    ['not ready', { url: '/health/ready' }, 503, { isStopping: true }],
    ['metrics', { url: '/metrics' }, 200],
    ['a bad event', post(events, {}), 422],
    ['no event', post(events, []), 400],
    ['too many events', post(events, Array(1_001).fill(0)), 413],
    ['Kafka away', post(events, {}), 503, { producer: { send: () => Promise.reject(noKafka) } }],
  ])('%s', async (_, asked, status, more) => {
    expect((await described(asked, more)).status).toBe(status)
  })

  test('good events, and good ones among bad ones: the examples of the document', async () => {
    const { body } = await described({ url: '/openapi.json' })
    const [example] = (body as Document).components.schemas[`event.${stream}`]!.examples as object[]
    expect((await described(post(events, example))).body).toMatchObject({ accepted: 1, rejected: 0 })
    expect((await described(post(events, [example, {}]))).status).toBe(207)
  })
})
