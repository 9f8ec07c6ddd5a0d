/**
 * The HTTP server without any route of its own: failures and unknown paths are answered as JSON, a taken port is one sentence. The
 * command makes it, registers the rooms' routes and listens.
 */
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { PipelineError } from '../schemas/errors.ts'
import { failureFrom, failureOf, failureSchema, type HttpFailure } from './http-failure.ts'
import type { Log } from './log.ts'

export const bodyBytesMax = 1_048_576
const requestTimeoutMs = 10_000
/** Entity keys are part of paths: 256 characters, each up to 9 when it is escaped. */
const pathPartMax = 2_304

/**
 * Listens to nothing yet. Schemas of requests are enforced and bend nothing; schemas of answers describe and change nothing. From
 * `close` on, what is being answered is answered and new requests get 503.
 */
export function createHttpServer({ log }: { readonly log: Log }): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    routerOptions: { maxParamLength: pathPartMax },
    // Keep-alive connections of clients that never hang up would hold up a stop for ever.
    forceCloseConnections: 'idle',
    // Its own answer would have another shape.
    return503OnClosing: false,
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        verbose: true,
        allowUnionTypes: true,
      },
    },
    frameworkErrors: answerFailure,
  })

  function answerFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
    const failed = failureFrom(error)
    if (failed === null) log.error({ err: error, url: request.url }, 'a request failed')
    const { status, failure } = failed ?? {
      status: 500,
      failure: failureOf('internal', 'The request failed; the log of this process says why.'),
    }
    reply.code(status).send(failure)
  }

  server.addSchema(failureSchema)
  server.setSerializerCompiler(() => JSON.stringify)
  server.setErrorHandler(answerFailure)
  listRoutes(server)
  refuseWhileClosing(server)
  return server
}

/** Unknown paths are answered with what there is. */
function listRoutes(server: FastifyInstance): void {
  const routes = new Set<string>()
  server.addHook('onRoute', ({ method, url, schema }) => {
    if (schema?.hide) return
    for (const one of [method].flat()) if (one !== 'HEAD' && one !== 'OPTIONS') routes.add(`${one} ${url}`)
  })
  server.setNotFoundHandler((request, reply) => {
    const message = `There is no ${request.method} ${request.url.split('?')[0]} here.`
    const failure: HttpFailure = { error: { code: 'not_found', message, routes: [...routes].sort() } }
    reply.code(404).send(failure)
  })
}

function refuseWhileClosing(server: FastifyInstance): void {
  let isClosing = false
  server.addHook('preClose', (done) => {
    isClosing = true
    done()
  })
  server.addHook('onRequest', (_, reply, done) => {
    if (!isClosing) return done()
    reply
      .code(503)
      .header('connection', 'close')
      .header('retry-after', '1')
      .send(failureOf('stopping', 'This process is stopping: send the request to another one, or again in a moment.'))
  })
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
