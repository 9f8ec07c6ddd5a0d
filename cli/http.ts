/** The rooms' routes in, one HTTP server out: features, health and metrics of a running process. Made by `live-process.ts`. */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import type { FeatureReader } from '../feature-store/reader.ts'
import { featureRoutes } from '../feature-store/routes.ts'
import { createHttpServer } from '../runtime/http-server.ts'
import type { Log } from '../runtime/log.ts'
import { metricsRoute } from '../runtime/metrics-route.ts'
import type { Plan } from '../schemas/plan.ts'
import { type HealthOptions, healthRoutes } from './health-routes.ts'

export interface HttpOptions extends HealthOptions {
  readonly plan: Plan
  readonly reader: FeatureReader
  readonly registry: Registry
  readonly log: Log
  /** The wall clock, ms. */
  readonly nowMs: () => number
}

/** Listens to nothing yet. */
export function createHttp(options: HttpOptions): FastifyInstance {
  const { plan, reader, registry, log, nowMs } = options
  const server = createHttpServer({ log })
  server.register(featureRoutes(reader, plan, { nowMs }))
  server.register(healthRoutes(options))
  server.register(metricsRoute(registry))
  return server
}
