/**
 * The state of the worker and checks of what it depends on come in, the routes that an orchestrator asks go out: whether the process
 * lives, and whether it is ready. Registered by `http.ts`.
 */
import type { FastifyInstance } from 'fastify'
import type { RunningWorker } from '../../processors/run-worker.ts'
import { createDeadline, type Deadline } from '../../runtime/deadline.ts'
import { failureResponse } from '../../runtime/http/failure.ts'

/** Something that must answer for the process to be ready. */
export interface HealthCheck {
  readonly part: string
  /** Rejects with the reason. */
  readonly check: () => Promise<unknown>
}

export interface ReadyResponse {
  readonly status: 'ready'
  readonly tasks: ReadonlyArray<{ readonly stage: string; readonly partition: number }>
}

/** Answered with 503. */
export interface NotReadyResponse {
  readonly status: 'not ready'
  readonly reasons: readonly Reason[]
}

interface Reason {
  readonly part: string
  readonly reason: string
}

export interface HealthOptions {
  readonly worker: Pick<RunningWorker, 'state'>
  readonly checks: readonly HealthCheck[]
  /** True from the moment on at which the process was asked to stop. */
  readonly isStopping: () => boolean
  readonly deadlineAfter?: (ms: number) => Deadline
}

const checkMaxMs = 2_000

const text = { type: 'string' } as const
const bodyOf = (status: string, more: Record<string, object> = {}) => ({
  type: 'object',
  required: ['status', ...Object.keys(more)],
  additionalProperties: false,
  properties: { status: { type: 'string', const: status }, ...more },
})
const answer = (description: string, schema: object) => ({
  description,
  content: { 'application/json': { schema } },
})
const listOf = (properties: Record<string, object>) => ({
  type: 'array',
  items: { type: 'object', required: Object.keys(properties), additionalProperties: false, properties },
})

const liveSchema = {
  operationId: 'live',
  tags: ['process'],
  summary: 'Whether the process lives.',
  response: { 200: answer('It does.', bodyOf('live')), 503: failureResponse('It is stopping.') },
}

const readySchema = {
  operationId: 'ready',
  tags: ['process'],
  summary: 'Whether the process is at work, with its tasks.',
  response: {
    200: answer('It is.', bodyOf('ready', { tasks: listOf({ stage: text, partition: { type: 'integer' } }) })),
    503: answer('It is not, for these reasons.', {
      anyOf: [bodyOf('not ready', { reasons: listOf({ part: text, reason: text }) }), { $ref: 'failure#' }],
    }),
  },
}

export function healthRoutes(options: HealthOptions) {
  const { worker, isStopping, deadlineAfter = createDeadline } = options
  const checks = options.checks.map((check) => createSharedCheck(check, deadlineAfter))

  return async (server: FastifyInstance): Promise<void> => {
    server.get('/health/live', { schema: liveSchema }, async () => ({ status: 'live' }))

    server.get('/health/ready', { schema: readySchema }, async (_, reply) => {
      const { tasks } = worker.state()
      const answers = await Promise.all(checks.map((check) => check()))
      const reasons = [
        ...(isStopping() ? [{ part: 'process', reason: 'it is stopping' }] : []),
        ...tasksNotReady(tasks),
        ...answers.filter((reason) => reason !== null),
      ]
      if (reasons.length > 0) return reply.code(503).send({ status: 'not ready', reasons } satisfies NotReadyResponse)
      const listed = tasks.map(({ stage, partition }) => ({ stage: stage.entity.name, partition }))
      return { status: 'ready', tasks: listed } satisfies ReadyResponse
    })
  }
}

function tasksNotReady(tasks: ReturnType<RunningWorker['state']>['tasks']): Reason[] {
  if (tasks.length === 0) return [{ part: 'tasks', reason: 'no task is open yet' }]
  const restoring = tasks.filter(({ isRestoring }) => isRestoring)
  if (restoring.length === 0) return []
  const named = restoring.map(({ stage, partition }) => `${stage.entity.name} ${partition}`).join(', ')
  return [{ part: 'tasks', reason: `folding again what the store lacks: ${named}` }]
}

/** Probes that come while a check is under way get its answer, so that a part that hangs is not asked again and again. */
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
