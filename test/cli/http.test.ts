/** The assembled HTTP server without a network: health, metrics, features, what is not there; and a port that is taken. */
import { createServer } from 'node:net'
import { Counter, Registry } from 'prom-client'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createHttp, type HttpOptions } from '../../cli/run/http.ts'
import type { FeatureReader } from '../../feature-store/reader.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { HealthCheck } from '../../runtime/http/health-routes.ts'
import { createHttpServer, listen } from '../../runtime/http/server.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'

const plan = compile(cardFraud)
const [customer, terminal] = plan.stages
type State = ReturnType<HttpOptions['worker']['state']>
type Tasks = State['tasks']

function task(stage = customer!, partition = 0, isRestoring = false): Tasks[number] {
  return { stage, partition, isRestoring } as Tasks[number]
}

function serverWith(
  options: {
    tasks?: Tasks
    checks?: HealthCheck[]
    reader?: FeatureReader
    isStopping?: boolean
    early?: State['early']
    overtaken?: State['overtaken']
    misfit?: string
  } & Pick<Partial<HttpOptions>, 'deadlineAfter'> = {},
) {
  const { tasks = [task()], checks = [], isStopping = false, early = null, overtaken = null, deadlineAfter } = options
  const errors: string[] = []
  const registry = new Registry()
  new Counter({ name: 'millrace_test_total', help: 'A count.', registers: [registry] }).inc(3)
  const server = createHttp({
    plan,
    reader: options.reader ?? { read: async () => ({ ok: true, items: [] }) },
    registry,
    log: { info: () => undefined, warn: () => undefined, error: (_, message) => errors.push(message) },
    nowMs: () => 0,
    producer: { send: async () => undefined },
    partitionsOf: () => 4,
    worker: { state: () => ({ tasks, isReady: true, early, overtaken }) },
    misfit: () => options.misfit ?? null,
    checks,
    isStopping: () => isStopping,
    ...(deadlineAfter ? { deadlineAfter } : {}),
  })
  const get = async (url: string) => {
    const { statusCode, body, headers } = await server.inject({ method: 'GET', url })
    return { status: statusCode, body, type: headers['content-type'], json: () => JSON.parse(body) }
  }
  return { server, get, errors }
}

describe('health', () => {
  test('a process that answers is alive', async () => {
    const { get } = serverWith({ tasks: [] })
    const answer = await get('/health/live')
    expect([answer.status, answer.json()]).toEqual([200, { status: 'live' }])
  })

  test('ready with its tasks once every check passes', async () => {
    const { get } = serverWith({
      tasks: [task(customer, 0), task(terminal, 3)],
      checks: [{ part: 'Kafka', check: async () => 'ok' }],
    })
    const answer = await get('/health/ready')
    const tasks = [
      { stage: 'customer', partition: 0 },
      { stage: 'terminal', partition: 3 },
    ]
    expect([answer.status, answer.json()]).toEqual([200, { status: 'ready', tasks }])
  })

  test('degraded while early releases are recent, which an orchestrator takes for ready', async () => {
    const early = { count: 3, lastMs: -60_000, sentence: 'An event was released early.' }
    const answer = await serverWith({ early }).get('/health/ready')
    const reasons = [{ part: 'order', reason: '3 released early; the last: An event was released early.' }]
    const tasks = [{ stage: 'customer', partition: 0 }]
    expect([answer.status, answer.json()]).toEqual([200, { status: 'degraded', reasons, tasks }])
    const later = await serverWith({ early: { ...early, lastMs: -3_600_000 } }).get('/health/ready')
    expect(later.json()).toEqual({ status: 'ready', tasks })
  })

  test('degraded while predictions turn out to be overtaken: how many, by what, and what computes them again', async () => {
    const overtaken = { predictions: 12, isShort: true, lastMs: -60_000, sentence: 'A fact came.' }
    const answer = await serverWith({ overtaken }).get('/health/ready')
    expect(answer.json()).toMatchObject({
      status: 'degraded',
      reasons: [
        {
          part: 'order',
          reason:
            'at least 12 predictions were made before facts of their windows arrived; the last: A fact came. ' +
            'millrace recompute computes them again',
        },
      ],
    })
    const later = await serverWith({ overtaken: { ...overtaken, lastMs: -3_600_000 } }).get('/health/ready')
    expect(later.json()).toMatchObject({ status: 'ready' })
  })

  test('degraded while the champion scores nothing, with the sentence what to do', async () => {
    const misfit = 'champion v1 does not fit this definition: feature amount has changed.'
    const answer = await serverWith({ misfit }).get('/health/ready')
    const tasks = [{ stage: 'customer', partition: 0 }]
    expect(answer.json()).toEqual({ status: 'degraded', reasons: [{ part: 'model', reason: misfit }], tasks })
  })

  test('not ready while no task is open', async () => {
    const answer = await serverWith({ tasks: [] }).get('/health/ready')
    const reasons = [{ part: 'tasks', reason: 'no task is open yet' }]
    expect([answer.status, answer.json()]).toEqual([503, { status: 'not ready', reasons }])
  })

  test('not ready while tasks are restored, a server does not answer, and it is stopping: all reasons', async () => {
    const unreachable = new PipelineError('kafka_unreachable', 'No broker answered at localhost:1.')
    const { get } = serverWith({
      tasks: [task(customer, 0), task(customer, 1, true), task(terminal, 2, true)],
      checks: [
        { part: 'Kafka', check: () => Promise.reject(unreachable) },
        { part: 'Redis', check: () => new Promise(() => undefined) },
      ],
      isStopping: true,
      deadlineAfter: () => ({
        reached: new Promise((resolve) => setImmediate(resolve, 'late')),
        cancel: () => undefined,
      }),
    })
    const answer = await get('/health/ready')
    expect(answer.status).toBe(503)
    expect(answer.json().reasons).toEqual([
      { part: 'process', reason: 'it is stopping' },
      { part: 'tasks', reason: 'folding again what the store lacks: customer 1, terminal 2' },
      { part: 'Kafka', reason: 'No broker answered at localhost:1.' },
      { part: 'Redis', reason: 'no answer within 2000 ms' },
    ])
  })

  test('probes that come while a check is under way share it', async () => {
    let asked = 0
    const check = () => {
      asked++
      return new Promise((resolve) => setImmediate(resolve))
    }
    const { get } = serverWith({ checks: [{ part: 'Kafka', check }] })
    const answers = await Promise.all([get('/health/ready'), get('/health/ready'), get('/health/ready')])
    expect([answers.map(({ status }) => status), asked]).toEqual([[200, 200, 200], 1])
    await get('/health/ready')
    expect(asked).toBe(2)
  })
})

test('metrics come in the text format of Prometheus', async () => {
  const answer = await serverWith().get('/metrics')
  expect(answer.status).toBe(200)
  expect(answer.type).toBe('text/plain; version=0.0.4; charset=utf-8')
  expect(answer.body).toContain(
    '# HELP millrace_test_total A count.\n# TYPE millrace_test_total counter\nmillrace_test_total 3',
  )
})

test('features are there', async () => {
  const answer = await serverWith().get('/entities')
  expect(answer.json().entities.map(({ name }: { name: string }) => name)).toEqual(['customer', 'terminal'])
})

test('an unknown path is answered with exactly the routes that are described', async () => {
  const { get } = serverWith()
  const { paths } = (await get('/openapi.json')).json() as { paths: Record<string, object> }
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  )
  expect(routes).toContain('GET /features/customer/:key')
  expect(routes).toContain('POST /streams/chargebacks/events')
  const answer = await get('/feature/customer/1?asOf=2')
  const message = 'There is no GET /feature/customer/1 here.'
  expect([answer.status, answer.json()]).toEqual([
    404,
    { error: { code: 'not_found', message, routes: routes.sort() } },
  ])
})

describe('failures', () => {
  test('of the world carry their code and remedy', async () => {
    const server = createHttpServer({ log: { info: () => undefined, warn: () => undefined, error: () => undefined } })
    server.get('/fails', async () => {
      throw new PipelineError('redis_unreachable', 'Redis did not answer within 5 s.')
    })
    const { statusCode, body } = await server.inject('/fails')
    expect([statusCode, JSON.parse(body)]).toEqual([
      503,
      {
        error: {
          code: 'redis_unreachable',
          message: 'Redis did not answer within 5 s. Check REDIS_URL and that Redis is running.',
        },
      },
    ])
  })

  test('of ours are logged and not shown', async () => {
    const { server, get, errors } = serverWith()
    server.get('/mistake', async () => {
      throw new TypeError('secret detail')
    })
    const answer = await get('/mistake')
    expect([answer.status, answer.json()]).toEqual([
      500,
      { error: { code: 'internal', message: 'The request failed; the log of this process says why.' } },
    ])
    expect(errors).toEqual(['a request failed'])
  })

  test('of the caller keep their status', async () => {
    const { server } = serverWith()
    const { statusCode } = await server.inject({
      method: 'POST',
      url: '/features/customer',
      payload: Buffer.alloc(2_000_000, ' '),
    })
    expect(statusCode).toBeGreaterThanOrEqual(400)
    expect(statusCode).toBeLessThan(500)
  })
})

test('a port that is taken is one sentence', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void other.close())
  const { port } = other.address() as { port: number }
  const { server } = serverWith()
  onTestFinished(() => server.close())
  await expect(listen(server, { host: '127.0.0.1', port })).rejects.toMatchObject({
    code: 'port_in_use',
    message: `Port ${port} of 127.0.0.1 is taken by another process.`,
  })
})

test('port 0 takes a free one and answers with its address', async () => {
  const { server } = serverWith()
  onTestFinished(() => server.close())
  const url = await listen(server, { host: '127.0.0.1', port: 0 })
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d{4,5}$/)
  expect((await fetch(`${url}/health/live`)).status).toBe(200)
})
