/**
 * Checks of what a process depends on come in, the liveness and readiness routes for an orchestrator go out. Registered by
 * `process-server.ts` with the server of every process.
 */
import type { FastifyInstance } from 'fastify'
import { createDeadline, type Deadline } from '../deadline.ts'
import { failureResponse } from './failure.ts'

/** A dependency that must answer for the process to be ready. */
export interface HealthCheck {
  readonly part: string
  /** Rejects with the reason. */
  readonly check: () => Promise<unknown>
}

/** Answered with 503. */
export interface NotReadyResponse {
  readonly status: 'not ready'
  readonly reasons: readonly Reason[]
}

export interface Reason {
  readonly part: string
  readonly reason: string
}

/** What a process adds to its own readiness. */
export interface Readiness {
  /** Why it is not ready yet, and what the answer holds beside the status once it is. */
  readonly state: () => ReadinessState
  /** JSON schemas of the details. */
  readonly schemas: Readonly<Record<string, object>>
}

export interface ReadinessState {
  readonly reasons: readonly Reason[]
  /** It is at work, but an operator should know these. */
  readonly degraded?: readonly Reason[]
  readonly details: Readonly<Record<string, unknown>>
}

/** Answered with 200: an orchestrator keeps sending requests. */
export interface DegradedResponse {
  readonly status: 'degraded'
  readonly reasons: readonly Reason[]
}

export interface HealthOptions {
  readonly checks: readonly HealthCheck[]
  /** True from the moment at which the process was asked to stop. */
  readonly isStopping: () => boolean
  readonly readiness?: Readiness
  readonly deadlineAfter?: (ms: number) => Deadline
}

const checkMaxMs = 2_000

const text = { type: 'string' } as const
const bodyOf = (status: string, more: Readonly<Record<string, object>> = {}) => ({
  type: 'object',
  required: ['status', ...Object.keys(more)],
  additionalProperties: false,
  properties: { status: { type: 'string', const: status }, ...more },
})
const answer = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema } },
})

export const listOf = (properties: Readonly<Record<string, object>>) => ({
  type: 'array',
  items: { type: 'object', required: Object.keys(properties), additionalProperties: false, properties },
})

const reasonsSchema = listOf({ part: text, reason: text })

const liveSchema = {
  operationId: 'live',
  tags: ['process'],
  summary: 'Whether the process is alive.',
  response: { 200: answer('It is.', bodyOf('live')), 503: failureResponse('It is stopping.') },
}

const readySchema = (details: Readonly<Record<string, object>>) => ({
  operationId: 'ready',
  tags: ['process'],
  summary: 'Whether the process is ready: at work, with all it depends on.',
  response: {
    200: answer('It is; degraded: it is at work, but results may be wrong, for these reasons.', {
      anyOf: [bodyOf('ready', details), bodyOf('degraded', { reasons: reasonsSchema, ...details })],
    }),
    503: answer('It is not, for these reasons.', {
      anyOf: [bodyOf('not ready', { reasons: reasonsSchema }), { $ref: 'failure#' }],
    }),
  },
})

export function healthRoutes(options: HealthOptions) {
  const { isStopping, readiness, deadlineAfter = createDeadline } = options
  const checks = options.checks.map((check) => createSharedCheck(check, deadlineAfter))

  return async (server: FastifyInstance): Promise<void> => {
    server.get('/health/live', { schema: liveSchema }, async () => ({ status: 'live' }))

    server.get('/health/ready', { schema: readySchema(readiness?.schemas ?? {}) }, async (_, reply) => {
      const failed = (await Promise.all(checks.map((check) => check()))).filter((reason) => reason !== null)
      const { reasons: own, degraded = [], details } = readiness?.state() ?? { reasons: [], details: {} }
      const stopping = isStopping() ? [{ part: 'process', reason: 'it is stopping' }] : []
      const reasons = [...stopping, ...own, ...failed]
      if (reasons.length > 0) return reply.code(503).send({ status: 'not ready', reasons } satisfies NotReadyResponse)
      if (degraded.length > 0) return { status: 'degraded', reasons: degraded, ...details }
      return { status: 'ready', ...details }
    })
  }
}

/** Probes that arrive while a check is running share its result, so that a dependency that hangs is not asked again and again. */
function createSharedCheck({ part, check }: HealthCheck, deadlineAfter: (ms: number) => Deadline) {
  let running: Promise<Reason | null> | null = null

  async function run(): Promise<Reason | null> {
    const deadline = deadlineAfter(checkMaxMs)
    const answered = check().then(
      () => null,
      (error: unknown) => ({ part, reason: error instanceof Error ? error.message : String(error) }),
    )
    const answer = await Promise.race([answered, deadline.reached])
    deadline.cancel()
    return answer === 'late' ? { part, reason: `no answer within ${checkMaxMs} ms` } : answer
  }

  return () => {
    running ??= run().finally(() => {
      running = null
    })
    return running
  }
}
