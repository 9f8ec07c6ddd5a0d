/**
 * The HTTP server without any route of its own: failures and unknown paths are answered as JSON, a taken port is one sentence. The
 * command makes it, registers the rooms' routes and listens.
 */
import fastify, { type FastifyError, type FastifyInstance } from 'fastify'
import { errorCatalogue, PipelineError } from '../schemas/errors.ts'
import type { Log } from './log.ts'

/** Body of every answer that is no success. */
export interface HttpFailure {
  readonly error: { readonly code: string; readonly message: string; readonly routes?: readonly string[] }
}

const bodyBytesMax = 1_048_576
const requestTimeoutMs = 10_000
/** Entity keys are part of paths: 256 characters, each up to 9 when it is escaped. */
const pathPartMax = 2_304

/** Listens to nothing yet. */
export function createHttpServer(options: { readonly log: Log }): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    routerOptions: { maxParamLength: pathPartMax },
    // Keep-alive connections of clients that never hang up would hold up a stop for ever.
    forceCloseConnections: 'idle',
  })
  const routes: string[] = []
  server.addHook('onRoute', ({ method, url }) => {
    for (const one of [method].flat()) if (one !== 'HEAD' && one !== 'OPTIONS') routes.push(`${one} ${url}`)
  })
  server.setNotFoundHandler((request, reply) => {
    const message = `There is no ${request.method} ${request.url.split('?')[0]} here.`
    const failure: HttpFailure = { error: { code: 'not_found', message, routes: [...new Set(routes)].sort() } }
    return reply.code(404).send(failure)
  })
  server.setErrorHandler((error: FastifyError, request, reply) => {
    if (error instanceof PipelineError) {
      const { remedy } = errorCatalogue[error.code]
      return reply.code(error.retry ? 503 : 500).send(failureOf(error.code, `${error.message} ${remedy}`))
    }
    const status = error.statusCode ?? 500
    if (status < 500) return reply.code(status).send(failureOf('bad_request', error.message))
    options.log.error({ err: error, url: request.url }, 'a request failed')
    return reply.code(500).send(failureOf('internal', 'The request failed; the log of this process says why.'))
  })
  return server
}

/** Answers the URL to reach it by. Rejects with `port_in_use`. */
export async function listen(
  server: FastifyInstance,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<string> {
  try {
    return await server.listen({ host, port })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE') throw cause
    throw new PipelineError('port_in_use', `Port ${port} of ${host} is taken by another process.`, {
      cause,
      details: { host, port },
    })
  }
}

function failureOf(code: string, message: string): HttpFailure {
  return { error: { code, message } }
}
