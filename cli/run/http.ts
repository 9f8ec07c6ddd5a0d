/**
 * The parts of a live process come in, its HTTP server goes out; `pages` is the list of what it serves. Called by `live-process.ts`, and
 * by `openapi.ts` for the description alone.
 */
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { Registry } from 'prom-client'
import type { FeatureReader } from '../../feature-store/reader.ts'
import { featureRoutes } from '../../feature-store/routes.ts'
import type { RunningWorker } from '../../processors/run-worker.ts'
import { type IntakeOptions, intakeRoutes } from '../../producers/intake.ts'
import { createDeadline } from '../../runtime/deadline.ts'
import type { HealthOptions } from '../../runtime/http/health-routes.ts'
import { createProcessServer } from '../../runtime/http/process-server.ts'
import type { Log } from '../../runtime/log.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { taskReadiness } from './task-readiness.ts'

export interface HttpOptions
  extends Omit<HealthOptions, 'readiness'>,
    Pick<IntakeOptions, 'producer' | 'partitionsOf'> {
  readonly plan: Plan
  readonly reader: FeatureReader
  readonly worker: Pick<RunningWorker, 'state'>
  readonly misfit: () => string | null
  readonly registry: Registry
  readonly log: Log
  /** The wall clock, ms. */
  readonly nowMs: () => number
}

function pages(options: HttpOptions): FastifyPluginAsync[] {
  const { plan, reader, nowMs, deadlineAfter = createDeadline } = options
  return [intakeRoutes({ ...options, deadlineAfter }), featureRoutes(reader, plan, { nowMs })]
}

/** Does not listen yet. */
export function createHttp(options: HttpOptions): FastifyInstance {
  const { plan, worker, registry, log } = options
  return createProcessServer({
    api: {
      title: plan.name,
      version: String(plan.version),
      description: `Events into the pipeline ${plan.name}, features out of it, and the state of its process.`,
    },
    pages: pages(options),
    health: { ...options, readiness: taskReadiness(worker, options.misfit, options.nowMs) },
    registry,
    log,
  })
}
