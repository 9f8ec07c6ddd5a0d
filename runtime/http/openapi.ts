/**
 * The OpenAPI description of an HTTP server, generated from the schemas of its routes. Called by `process-server.ts` before any route is
 * registered; `/openapi.json` and `millrace openapi` show the same document.
 */
import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

export interface ApiTitle {
  readonly title: string
  readonly version: string
  readonly description: string
}

/** Routes that are registered afterwards are in the document, and so is `/openapi.json` itself. */
export function describeApi(server: FastifyInstance, info: ApiTitle): void {
  server.register(swagger, {
    openapi: { openapi: '3.1.0', info, servers: [{ url: '/', description: 'The process that shows this.' }] },
    // Schemas keep their names, and what OpenAPI 3.1 takes as it is stays as it is.
    refResolver: { buildLocalReference: ({ $id }, _base, _fragment, index) => String($id ?? `schema-${index}`) },
    convertConstToEnum: false,
  })
  server.register(async (routes) => {
    let text: string | null = null
    routes.get('/openapi.json', { schema: openApiSchema }, async (_, reply) => {
      text ??= openApiText(server)
      return reply.type('application/json').send(text)
    })
  })
}

/** The server must be ready. */
export function openApiText(server: FastifyInstance): string {
  return `${JSON.stringify(server.swagger(), null, 2)}\n`
}

const openApiSchema = {
  operationId: 'openApi',
  tags: ['process'],
  summary: 'This description.',
  response: {
    200: {
      description: 'The OpenAPI 3.1 document of this server.',
      content: { 'application/json': { schema: { type: 'object', required: ['openapi', 'info', 'paths'] } } },
    },
  },
}
