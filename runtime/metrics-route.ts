/** A Prometheus registry in, the route that shows it out; registered with the HTTP server by the command. */
import type { FastifyPluginAsync } from 'fastify'
import type { Registry } from 'prom-client'

/** GET /metrics in Prometheus's text format. */
export function metricsRoute(registry: Registry): FastifyPluginAsync {
  return async (server) => {
    server.get('/metrics', async (_, reply) => {
      return reply.type(registry.contentType).send(await registry.metrics())
    })
  }
}
