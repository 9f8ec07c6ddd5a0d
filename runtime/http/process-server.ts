/**
 * The HTTP server of a process: its pages come in, one server goes out that also has health, metrics and the OpenAPI description of them
 * all, with the same limits and error responses. Called by `millrace run`, `millrace trainer` and `millrace audit`, once each.
 */
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { Registry } from 'prom-client'
import type { Log } from '../log.ts'
import { type HealthOptions, healthRoutes } from './health-routes.ts'
import { metricsRoute } from './metrics-route.ts'
import { type ApiTitle, describeApi } from './openapi.ts'
import { createHttpServer } from './server.ts'

export interface ProcessServerOptions {
  readonly api: ApiTitle
  /** What this process alone serves: each a plugin with its routes and their schemas. */
  readonly pages: readonly FastifyPluginAsync[]
  readonly health: HealthOptions
  readonly registry: Registry
  readonly log: Log
}

/** Does not listen yet: see `listen`. */
export function createProcessServer({ api, pages, health, registry, log }: ProcessServerOptions): FastifyInstance {
  const server = createHttpServer({ log })
  describeApi(server, api)
  for (const routes of [...pages, healthRoutes(health), metricsRoute(registry)]) server.register(routes)
  return server
}
