/** The server itself, over real connections: its responses to unknown paths and methods and of bad URLs, and how it stops. */
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createHttpServer, listen } from '../../runtime/http/server.ts'

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

function serverWith(add: (server: FastifyInstance) => void): FastifyInstance {
  const server = createHttpServer({ log })
  onTestFinished(() => server.close())
  server.register(async (routes) => add(routes))
  return server
}

describe('what is not there', () => {
  const server = () =>
    serverWith((routes) => {
      routes.get('/things/:id', async () => ({}))
      routes.put('/things/:id', async () => ({}))
      routes.get('/a.b', async () => ({}))
      routes.get('/hidden/:id', { schema: { hide: true } }, async () => ({}))
    })

  test('an unknown path is answered with what there is', async () => {
    const { statusCode, body } = await server().inject('/acb?x=1')
    const routes = ['GET /a.b', 'GET /things/:id', 'PUT /things/:id']
    const error = { code: 'not_found', message: 'There is no GET /acb here.', routes }
    expect([statusCode, JSON.parse(body)]).toEqual([404, { error }])
  })

  test.each(['POST', 'TRACE', 'QUERY', 'OPTIONS'] as const)(
    'an unknown method, %s, with those of the path',
    async (method) => {
      const reply = await server().inject({ method: method as 'POST', url: '/things/7' })
      expect([reply.statusCode, reply.headers.allow]).toEqual([405, 'GET, HEAD, PUT'])
      const message = `There is no ${method} /things/7 here. The path takes GET, HEAD, PUT.`
      expect(reply.json()).toEqual({ error: { code: 'method_unknown', message } })
    },
  )

  test('a path that is no UTF-8 is the fault of the caller', async () => {
    const { statusCode, body } = await server().inject('/things/%E0%A4%A')
    expect([statusCode, JSON.parse(body).error.code]).toEqual([400, 'request_invalid'])
  })
})

test('answers hold what the schema of the answer does not name', async () => {
  const schema = { response: { 200: { type: 'object', properties: { a: { type: 'string' } } } } }
  const server = serverWith((routes) => {
    routes.addSchema({ $id: 'of-this-room', type: 'object' })
    routes.get('/', { schema }, async () => ({ a: 1, b: { c: 2 } }))
  })
  expect((await server.inject('/')).json()).toEqual({ a: 1, b: { c: 2 } })
})

test('requests are not bent to their schema', async () => {
  const schema = {
    body: { type: 'object', properties: { n: { type: 'integer', description: 'a whole number' }, s: { default: 1 } } },
  }
  const server = serverWith((routes) => void routes.post('/', { schema }, async ({ body }) => body))
  const post = async (payload: object) => (await server.inject({ method: 'POST', url: '/', payload })).json()
  expect(await post({ n: 1, more: true })).toEqual({ n: 1, more: true })
  expect((await post({ n: '1' })).error).toEqual({
    code: 'request_invalid',
    message: '/n should be a whole number; received "1".',
    path: '/n',
    expected: 'a whole number',
    received: '1',
  })
})

test('while it closes, what is being answered is answered and new requests are sent elsewhere', async () => {
  let release: () => void = () => undefined
  let reached: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const arrived = new Promise<void>((resolve) => {
    reached = resolve
  })
  const server = serverWith((routes) => {
    routes.get('/slow', async () => {
      reached()
      await held
      return { slow: true }
    })
    routes.get('/quick', async () => ({ quick: true }))
  })
  const { port } = new URL(await listen(server, { host: '127.0.0.1', port: 0 }))
  const socket = connect(Number(port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  let received = ''
  socket.on('data', (piece) => {
    received += piece.toString()
  })
  const ended = new Promise((resolve) => socket.once('close', resolve))
  const ask = (path: string) => socket.write(`GET ${path} HTTP/1.1\r\nHost: here\r\n\r\n`)
  ask('/slow')
  await arrived
  const closed = server.close()
  // The second request comes over the same connection, which is still at work on the first.
  ask('/quick')
  for (let turns = 0; turns < 50; turns++) await new Promise((resolve) => setImmediate(resolve))
  release()
  await Promise.all([closed, ended])
  const [first, second] = received.split(/(?=HTTP\/1\.1 )/)
  expect(first).toContain('200 OK')
  expect(first).toContain('{"slow":true}')
  expect(second).toContain('503 Service Unavailable')
  expect(second?.toLowerCase()).toContain('connection: close')
  expect(second).toContain('"code":"stopping"')
})
