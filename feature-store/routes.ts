/**
 * The HTTP interface to features, a Fastify plugin: what can be asked, the features of one key, the features of many.
 * The command line registers it; every answer of a wrong request says what was expected and what came.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { PipelineError } from '../schemas/errors.ts'
import type { AggregateKind, Plan } from '../schemas/plan.ts'
import type { FeatureReader, KeyAnswer, ReadProblem, ReadRequest } from './reader.ts'

export interface EntitiesResponse {
  readonly entities: ReadonlyArray<{
    readonly name: string
    /** Features that this entity's facts alone give. */
    readonly features: readonly string[]
    readonly aggregates: ReadonlyArray<{
      readonly name: string
      readonly kind: AggregateKind
      readonly stream: string
      readonly overMs: number
      readonly lagMs: number
    }>
    readonly retentionMs: number
  }>
}

/** Features of a key that the entity has facts of. */
export interface FeaturesItem {
  readonly found: true
  readonly key: string
  readonly partition: number
  /** RFC 3339: the instant that the values are for. */
  readonly instant: string
  /** By feature name; null is missing. */
  readonly features: Readonly<Record<string, number | null>>
  /**
   * `before_retention`: the features listed in `beforeRetention` would need facts that are no longer kept, and are
   * null.
   */
  readonly status: 'complete' | 'before_retention'
  readonly beforeRetention: readonly string[]
  /** Features whose derive function threw; they are null. */
  readonly failed: ReadonlyArray<{ readonly feature: string; readonly message: string }>
  readonly facts: number
  readonly newestFactAgeMs: number | null
}

export interface UnknownItem {
  readonly found: false
  readonly key: string
  readonly partition: number
}

export interface FeaturesResponse extends FeaturesItem {
  readonly entity: string
}

export interface FeaturesBatchResponse {
  readonly entity: string
  /** In the order of the keys. */
  readonly items: ReadonlyArray<FeaturesItem | UnknownItem>
}

export interface ErrorResponse {
  readonly error: {
    readonly code: string
    readonly message: string
    readonly path?: string
    readonly expected?: unknown
    readonly received?: unknown
  }
}

export interface RouteOptions {
  /** The wall clock, ms. */
  readonly nowMs: () => number
}

export const keysMax = 1_000
/** Answered with 503: the caller can do nothing about them. */
const storeFailures: readonly string[] = ['redis_unreachable', 'redis_request_failed', 'redis_refused']
const keyLengthMax = 1_024
/** Largest distance from 1970 that a date can have, ms. */
const instantMax = 8.64e15
const instantText = 'an RFC 3339 instant with a zone, or ms since 1970'
const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

interface Asked {
  readonly asOf?: string | number
  readonly knowledge?: 'now' | 'then'
  readonly clock?: 'event' | 'wall'
}

const askedSchema = {
  knowledge: { type: 'string', enum: ['now', 'then'] },
  clock: { type: 'string', enum: ['event', 'wall'] },
} as const

const querySchema = {
  type: 'object',
  additionalProperties: false,
  properties: { asOf: { type: 'string' }, ...askedSchema },
} as const

const bodySchema = {
  type: 'object',
  required: ['keys'],
  properties: {
    keys: {
      type: 'array',
      minItems: 1,
      maxItems: keysMax,
      items: { type: 'string', minLength: 1, maxLength: keyLengthMax },
    },
    // Text or a number, which `bentType` has seen to.
    asOf: {},
    ...askedSchema,
  },
} as const

/** A wrong request: becomes the answer with this status. */
interface Refusal {
  readonly status: 400 | 404
  readonly error: ErrorResponse['error']
}

export function featureRoutes(reader: FeatureReader, plan: Plan, { nowMs }: RouteOptions) {
  const entities = describeEntities(plan)

  async function read(reply: FastifyReply, entity: string, keys: readonly string[], asked: Asked) {
    const request = requestOf(asked, nowMs())
    if ('error' in request) return refuse(reply, request)
    const answer = await reader.read(entity, keys, request)
    return answer.ok ? answer.items : refuse(reply, refusalOf(answer.problem))
  }

  return async (app: FastifyInstance): Promise<void> => {
    app.setErrorHandler(answerError)

    app.get('/entities', async () => entities)

    app.get<{ Params: { entity: string; key: string }; Querystring: Asked }>(
      '/features/:entity/:key',
      { schema: { querystring: querySchema }, preValidation: refuseUnknownQuery },
      async ({ params: { entity, key }, query }, reply) => {
        const items = await read(reply, entity, [key], query)
        if (!Array.isArray(items)) return items
        const [item] = items.map(itemOf)
        if (item?.found) return { entity, ...item } satisfies FeaturesResponse
        return refuse(reply, {
          status: 404,
          error: {
            code: 'key_unknown',
            message: `${entity} ${key} has no facts within retention (partition ${item?.partition}).`,
            path: '/key',
            received: key,
          },
        })
      },
    )

    app.post<{ Params: { entity: string }; Body: Asked & { keys: string[] } }>(
      '/features/:entity',
      { schema: { body: bodySchema }, preValidation: refuseBentTypes },
      async ({ params: { entity }, body: { keys, ...asked } }, reply) => {
        const items = await read(reply, entity, keys, asked)
        return Array.isArray(items) ? ({ entity, items: items.map(itemOf) } satisfies FeaturesBatchResponse) : items
      },
    )
  }
}

function describeEntities(plan: Plan): EntitiesResponse {
  const entityStages = plan.stages.filter(({ kind }) => kind === 'entity')
  const streamNames = new Map(plan.streams.map(({ index, name }) => [index, name]))
  return {
    entities: entityStages.map(({ entity }) => ({
      name: entity.name,
      features: plan.features.filter((feature) => feature.entity === entity.name).map(({ name }) => name),
      aggregates: entity.slots.map(({ name, kind, stream, overMs, lagMs }) => ({
        name,
        kind,
        stream: streamNames.get(stream) ?? String(stream),
        overMs,
        lagMs,
      })),
      retentionMs: entity.retentionMs,
    })),
  }
}

function itemOf(answer: KeyAnswer): FeaturesItem | UnknownItem {
  return answer.found ? { ...answer, instant: new Date(answer.instant).toISOString() } : answer
}

function requestOf({ asOf, knowledge = 'now', clock = 'event' }: Asked, nowMs: number): ReadRequest | Refusal {
  if (asOf === undefined) return { knowledge, clock, nowMs }
  const instant = instantOf(asOf)
  if (instant !== null) return { asOf: instant, knowledge, clock, nowMs }
  return invalid('/asOf', instantText, asOf)
}

function instantOf(asOf: string | number): number | null {
  const isCount = typeof asOf === 'number' || /^-?\d+$/.test(asOf)
  const instant = isCount ? Number(asOf) : rfc3339.test(asOf) ? Date.parse(asOf.toUpperCase()) : Number.NaN
  return Number.isInteger(instant) && Math.abs(instant) <= instantMax ? instant : null
}

function refusalOf(problem: ReadProblem): Refusal {
  if (problem.code === 'entity_unknown') {
    const { code, expected, received } = problem
    const message = `There is no entity ${received}; known are ${expected.join(', ')}.`
    return { status: 404, error: { code, message, path: '/entity', expected, received } }
  }
  const expected = `at most ${new Date(problem.expected).toISOString()}`
  const received = new Date(problem.received).toISOString()
  const message = `asOf ${received} lies ahead of the stream, which has come to ${expected.slice('at most '.length)}.`
  return { status: 400, error: { code: problem.code, message, path: '/asOf', expected, received } }
}

/**
 * Before the schema is applied, because it would drop what it does not know: a misspelt `asOf` would be answered as
 * now.
 */
async function refuseUnknownQuery(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  const refusal = unknownName(request.query as object, Object.keys(querySchema.properties))
  return refusal === null ? undefined : refuse(reply, refusal)
}

function unknownName(values: object, known: readonly string[]): Refusal | null {
  const unknown = Object.keys(values).find((name) => !known.includes(name))
  return unknown === undefined ? null : invalid(`/${unknown}`, `one of ${known.join(', ')}`, unknown)
}

/**
 * Before the schema is applied, because it would bend values to their type: one key into a list, null into ''. What is
 * wrong here stays wrong.
 */
async function refuseBentTypes(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
  const refusal = bentType(request.body)
  return refusal === null ? undefined : refuse(reply, refusal)
}

function bentType(body: unknown): Refusal | null {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return invalid('', 'an object with keys', body)
  const unknown = unknownName(body, Object.keys(bodySchema.properties))
  if (unknown !== null) return unknown
  if ('asOf' in body && typeof body.asOf !== 'string' && typeof body.asOf !== 'number') {
    return invalid('/asOf', instantText, body.asOf)
  }
  if (!('keys' in body)) return invalid('/keys', `a list of 1 to ${keysMax} keys`, undefined)
  if (!Array.isArray(body.keys)) return invalid('/keys', `a list of 1 to ${keysMax} keys`, body.keys)
  const wrong = body.keys.findIndex((key) => typeof key !== 'string')
  return wrong === -1 ? null : invalid(`/keys/${wrong}`, 'a key as text', body.keys[wrong])
}

function invalid(path: string, expected: string, received: unknown): Refusal {
  const shown = received === undefined ? 'nothing' : JSON.stringify(received).slice(0, 200)
  const message = `${path === '' ? 'The body' : path} should be ${expected}; received ${shown}.`
  return { status: 400, error: { code: 'request_invalid', message, path, expected, received: received ?? null } }
}

function refuse(reply: FastifyReply, { status, error }: Refusal): FastifyReply {
  return reply.code(status).send({ error } satisfies ErrorResponse)
}

/**
 * Schema violations are the caller's, a store that fails is the world's; the rest is ours and goes to the server's own
 * answer.
 */
function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const violation = error.validation?.[0]
  if (violation !== undefined) {
    const place = error.validationContext === 'querystring' ? request.query : request.body
    const path = violation.instancePath
    return refuse(reply, invalid(path, expectedBy(violation), valueAt(place, path)))
  }
  if (error instanceof PipelineError && storeFailures.includes(error.code)) {
    return reply.code(503).send({ error: { code: error.code, message: error.message } } satisfies ErrorResponse)
  }
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return reply.code(error.statusCode).send({ error: { code: 'request_invalid', message: error.message } })
  }
  throw error
}

function expectedBy({ keyword, message, params }: { keyword: string; message?: string; params: object }): string {
  if (keyword === 'enum' && 'allowedValues' in params) return `one of ${(params.allowedValues as string[]).join(', ')}`
  return (message ?? keyword).replace(/^must (be )?/, '')
}

function valueAt(place: unknown, path: string): unknown {
  return path
    .split('/')
    .slice(1)
    .reduce((value, name) => (value as Record<string, unknown> | undefined)?.[name], place)
}
