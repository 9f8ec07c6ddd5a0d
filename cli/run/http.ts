/**
 * The rooms' routes in, one HTTP server out: events, features, health, metrics and the description of all of them. Made by
 * `live-process.ts`, and by `openapi.ts` for the description alone.
 */
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import type { FeatureReader } from '../../feature-store/reader.ts'
import { featureRoutes } from '../../feature-store/routes.ts'
import { type IntakeOptions, intakeRoutes } from '../../producers/intake.ts'
import { createDeadline } from '../../runtime/deadline.ts'
import { metricsRoute } from '../../runtime/http/metrics-route.ts'
import { describeApi } from '../../runtime/http/openapi.ts'
import { createHttpServer } from '../../runtime/http/server.ts'
import type { Log } from '../../runtime/log.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type HealthOptions, healthRoutes } from './health-routes.ts'

export interface HttpOptions extends HealthOptions, Pick<IntakeOptions, 'producer' | 'partitionsOf'> {
  readonly plan: Plan
  readonly reader: FeatureReader
  readonly registry: Registry
  readonly log: Log
  /** The wall clock, ms. */
  readonly nowMs: () => number
}

/** Listens to nothing yet. */
export function createHttp(options: HttpOptions): FastifyInstance {
  const { plan, reader, registry, log, nowMs, producer, partitionsOf, deadlineAfter = createDeadline } = options
  const server = createHttpServer({ log })
  describeApi(server, {
    title: plan.name,
    version: String(plan.version),
    description: `Events into the pipeline ${plan.name}, features out of it, and the state of its process.`,
  })
  server.register(intakeRoutes({ plan, producer, partitionsOf, registry, nowMs, deadlineAfter }))
  server.register(featureRoutes(reader, plan, { nowMs }))
  server.register(healthRoutes(options))
  server.register(metricsRoute(registry))
  return server
}
