/** A Prometheus registry comes in, its route goes out. Registered by `process-server.ts`. */
import type { FastifyPluginAsync } from 'fastify'
import type { Registry } from 'prom-client'

/** GET /metrics in Prometheus's text format. */
export function metricsRoute(registry: Registry): FastifyPluginAsync {
  return async (server) => {
    server.get('/metrics', { schema: metricsSchema }, async (_, reply) => {
      return reply.type(registry.contentType).send(await registry.metrics())
    })
  }
}

const metricsSchema = {
  operationId: 'metrics',
  tags: ['process'],
  summary: 'Counts, gauges and histograms of this process for Prometheus.',
  response: {
    200: {
      description: "Prometheus's text format, version 0.0.4.",
      content: { 'text/plain': { schema: { type: 'string' } } },
    },
  },
}
