/** A schema registry's HTTP API in this process: schemas are registered and read by id; it can require a password and fail on command. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

export interface RegistryServer {
  readonly url: string
  /** Requested paths, in order. */
  readonly asked: readonly string[]
  /** Registers under the next id. */
  add(schema: object | string, more?: Readonly<Record<string, unknown>>): number
  /** What the next requests are answered with, before anything else is. */
  readonly failures: Array<{ readonly status: number; readonly body: string }>
  /** `user:password` that every request must bring. */
  credentials: string | null
  close(): Promise<void>
}

export async function startRegistry(port = 0): Promise<RegistryServer> {
  const schemas: string[] = []
  const asked: string[] = []
  const failures: Array<{ status: number; body: string }> = []
  const state = { credentials: null as string | null }

  function add(schema: object | string, more: Readonly<Record<string, unknown>> = {}): number {
    const answer = JSON.stringify({ schema: typeof schema === 'string' ? schema : JSON.stringify(schema), ...more })
    if (!schemas.includes(answer)) schemas.push(answer)
    return schemas.indexOf(answer) + 1
  }

  function answer(method: string, path: string, authorization: string | undefined, body: string): [number, string] {
    asked.push(`${method} ${path}`)
    const failure = failures.shift()
    if (failure) return [failure.status, failure.body]
    const expected = state.credentials && `Basic ${Buffer.from(state.credentials).toString('base64')}`
    if (expected && authorization !== expected) return [401, '{"error_code":401,"message":"Unauthorized"}']
    if (method === 'POST') return [200, JSON.stringify({ id: add((JSON.parse(body) as { schema: string }).schema) })]
    const id = /^\/schemas\/ids\/(\d+)/.exec(path)?.[1]
    if (id === undefined) return [404, '{"error_code":404,"message":"HTTP 404 Not Found"}']
    const found = schemas[Number(id) - 1]
    return found ? [200, found] : [404, `{"error_code":40403,"message":"Schema ${id} not found"}`]
  }

  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (piece) => (body += String(piece)))
    request.on('end', () => {
      const [status, text] = answer(request.method!, request.url!, request.headers.authorization, body)
      response.writeHead(status, { 'content-type': 'application/vnd.schemaregistry.v1+json' }).end(text)
    })
  })
  await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve))
  let closing: Promise<void> | null = null
  function close(): Promise<void> {
    closing ??= new Promise((resolve) => void server.close(() => resolve()))
    server.closeAllConnections()
    return closing
  }
  onTestFinished(close)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    add,
    failures,
    get credentials() {
      return state.credentials
    },
    set credentials(credentials) {
      state.credentials = credentials
    },
    close,
  }
}
