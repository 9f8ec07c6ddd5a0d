/**
 * The HTTP server without routes: a log comes in, a Fastify server with our limits and JSON error responses goes out. Called by
 * `process-server.ts`, which registers the routes.
 */
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Log } from '../log.ts'
import { failureFrom, failureOf, failureSchema, type HttpFailure } from './failure.ts'

/** A path and a query of the longest keys and ids that are taken, escaped. */
const headerBytesMax = 64 * 1_024

export const bodyBytesMax = 1_048_576
const requestTimeoutMs = 10_000
/** Entity keys are part of paths: 256 characters, each up to 9 when it is escaped. */
const pathPartMax = 2_304

/**
 * Does not listen yet. Request schemas validate without coercion; response schemas document and never filter. After `close`, requests in
 * flight are finished and new ones get 503.
 */
export function createHttpServer({ log }: { readonly log: Log }): FastifyInstance {
  const server = fastify({
    logger: false,
    bodyLimit: bodyBytesMax,
    http: { maxHeaderSize: headerBytesMax },
    requestTimeout: requestTimeoutMs,
    routerOptions: { maxParamLength: pathPartMax },
    // Idle keep-alive connections would keep the server from closing.
    forceCloseConnections: 'idle',
    // Fastify's own 503 has another shape.
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
    // Fastify's own serializer silently drops properties that the response schema does not name.
    schemaController: { compilersFactory: { buildSerializer: () => () => JSON.stringify } },
    frameworkErrors: sendFailure,
  })

  function sendFailure(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
    const failed = failureFrom(error)
    if (failed === null) log.error({ err: error, url: request.url }, 'a request failed')
    const { status, failure } = failed ?? {
      status: 500,
      failure: failureOf('internal', 'The request failed; the log of this process says why.'),
    }
    reply.code(status).send(failure)
  }

  server.addSchema(failureSchema)
  server.setErrorHandler(sendFailure)
  rejectWhileClosing(server)
  handleUnknownRoutes(server)
  return server
}

function rejectWhileClosing(server: FastifyInstance): void {
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

interface KnownPath {
  readonly pattern: RegExp
  readonly methods: Set<string>
}

/** Before any body is read: 404 with the known routes for an unknown path, 405 with the allowed methods for an unknown method. */
function handleUnknownRoutes(server: FastifyInstance): void {
  const paths = new Map<string, KnownPath>()
  const routes = new Set<string>()
  server.addHook('onRoute', ({ method, url, schema }) => {
    const known = paths.get(url) ?? { pattern: patternOf(url), methods: new Set() }
    paths.set(url, known)
    for (const one of [method].flat()) {
      known.methods.add(one)
      if (!schema?.hide && one !== 'HEAD') routes.add(`${one} ${url}`)
    }
  })

  function answer({ method, url }: FastifyRequest, reply: FastifyReply): void {
    const [path] = url.split('?')
    const known = [...paths.values()].find(({ pattern }) => pattern.test(path!))
    const message = `There is no ${method} ${path} here.`
    const failure: HttpFailure = { error: { code: 'not_found', message, routes: [...routes].sort() } }
    if (known === undefined) return void reply.code(404).send(failure)
    const allowed = [...known.methods].join(', ')
    reply
      .code(405)
      .header('allow', allowed)
      .send(failureOf('method_unknown', `${message} The path takes ${allowed}.`))
  }

  server.setNotFoundHandler(answer)
  server.addHook('onRequest', (request, reply, done) => {
    if (request.is404) answer(request, reply)
    else done()
  })
}

/** Names of streams and entities contain no special characters of regular expressions but dots. */
function patternOf(url: string): RegExp {
  return new RegExp(`^${url.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`)
}

/** Resolves with the server's URL. Rejects with `port_in_use`. */
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
