/** The server that every process has: a page of its own beside health, metrics and one valid description of them all. */
import { validate } from '@readme/openapi-parser'
import type { FastifyPluginAsync } from 'fastify'
import { Counter, Registry } from 'prom-client'
import { expect, onTestFinished, test } from 'vitest'
import { auditRoute } from '../../cli/proof/audit-route.ts'
import { trainerRoutes } from '../../online-model/trainer/routes.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { HealthOptions } from '../../runtime/http/health-routes.ts'
import { createProcessServer } from '../../runtime/http/process-server.ts'
import { compile } from '../../schemas/plan/compile.ts'

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
const healthy: HealthOptions = { checks: [], isStopping: () => false }

function serverWith(pages: readonly FastifyPluginAsync[], health = healthy) {
  const registry = new Registry()
  new Counter({ name: 'millrace_test_total', help: 'A count.', registers: [registry] }).inc(3)
  const api = { title: 'a process', version: '1', description: 'What it serves.' }
  const server = createProcessServer({ api, pages, health, registry, log })
  onTestFinished(() => server.close())
  return server
}

const figures = {
  pipeline: 'card-fraud',
  sample: 0.1,
  checked: 7,
  predictions: 3,
  differing: 0,
  skipped: {},
  pending: 2,
  replay: {
    compared: 3,
    provisional: 1,
    differing: { late: 1, overtaken: 0, early: 0, unexplained: 0 },
    largest: {
      late: {
        class: 'late',
        id: 'tx-1',
        time: 1_522_540_800_000,
        origin: { partition: 0, offset: 4 },
        feature: 'amount',
        live: null,
        replay: 2.5,
        relative: 1,
      },
    },
    skipped: { before_read: 2 },
    pending: 0,
  },
} as const
const neverAsked = () => {
  throw new Error('a description asks nothing')
}
const trainer = trainerRoutes({
  plan: compile(cardFraud),
  store: { status: neverAsked, find: neverAsked },
  trainer: { evaluation: neverAsked, retraining: neverAsked, requestRetraining: neverAsked, done: Promise.resolve() },
  state: neverAsked,
})

test.each([
  ['the audit', auditRoute(() => figures), ['/audit']],
  ['the trainer', trainer, ['/predictions/{id}', '/retrain', '/trainer']],
])('the server of %s is described, its own pages beside those of every process', async (_, page, own) => {
  const reply = await serverWith([page]).inject('/openapi.json')
  const document = reply.json() as { readonly paths: Readonly<Record<string, object>> }
  const common = ['/health/live', '/health/ready', '/metrics', '/openapi.json']
  expect(Object.keys(document.paths).sort()).toEqual([...own, ...common].sort())
  expect(await validate(document as never)).toMatchObject({ valid: true })
})

test('the audit shows its totals as they are at the moment', async () => {
  let checked = 7
  const server = serverWith([auditRoute(() => ({ ...figures, checked }))])
  expect((await server.inject('/audit')).json()).toEqual(figures)
  checked = 8
  expect((await server.inject('/audit')).json()).toEqual({ ...figures, checked: 8 })
})

test('health and metrics need no page', async () => {
  const server = serverWith([])
  expect((await server.inject('/health/live')).json()).toEqual({ status: 'live' })
  expect((await server.inject('/health/ready')).json()).toEqual({ status: 'ready' })
  expect((await server.inject('/metrics')).body).toContain('millrace_test_total 3')
})

test('not ready while a dependency fails or the process is stopping: all reasons', async () => {
  const server = serverWith([], {
    checks: [
      { part: 'Kafka', check: () => Promise.reject(new Error('No broker answered.')) },
      { part: 'Redis', check: async () => 'PONG' },
    ],
    isStopping: () => true,
  })
  const reply = await server.inject('/health/ready')
  const reasons = [
    { part: 'process', reason: 'it is stopping' },
    { part: 'Kafka', reason: 'No broker answered.' },
  ]
  expect([reply.statusCode, reply.json()]).toEqual([503, { status: 'not ready', reasons }])
})
