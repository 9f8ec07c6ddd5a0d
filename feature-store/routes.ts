/**
 * The HTTP interface to features, a Fastify plugin: what can be asked, the features of one key, the features of many.
 * The command line registers it with a server of `runtime/http/server.ts`, which answers requests that its schemas reject and failures.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { type FailedRequest, type HttpFailure, invalidRequest } from '../runtime/http/failure.ts'
import type { AggregateKind } from '../schemas/definition/aggregates.ts'
import type { Plan, StagePlan } from '../schemas/plan/plan.ts'
import type { FeatureReader, KeyAnswer, ReadProblem, ReadRequest } from './reader.ts'
import {
  entitiesRoute,
  entitySchemas,
  featuresOf,
  instantMax,
  instantMin,
  instantText,
  manyKeysRoute,
  oneKeyRoute,
} from './route-schemas.ts'

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

export interface RouteOptions {
  /** The wall clock, ms. */
  readonly nowMs: () => number
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

interface Asked {
  readonly asOf?: string | number
  readonly knowledge?: 'now' | 'then'
  readonly clock?: 'event' | 'wall'
}

export function featureRoutes(reader: FeatureReader, plan: Plan, { nowMs }: RouteOptions) {
  const entities = describeEntities(plan)

  async function read(reply: FastifyReply, entity: string, keys: readonly string[], asked: Asked) {
    const request = requestOf(asked, nowMs())
    if ('failure' in request) return sendFailure(reply, request)
    const answer = await reader.read(entity, keys, request)
    return answer.ok ? answer.items : sendFailure(reply, failedRequest(answer.problem))
  }

  async function readOne(reply: FastifyReply, entity: string, key: string, asked: Asked) {
    const items = await read(reply, entity, [key], asked)
    if (!Array.isArray(items)) return items
    const [item] = items.map(itemOf)
    if (item?.found) return { entity, ...item } satisfies FeaturesResponse
    const message = `${entity} ${key} has no facts within retention (partition ${item?.partition}).`
    return sendFailure(reply, {
      status: 404,
      failure: { error: { code: 'key_unknown', message, path: '/key', received: key } },
    })
  }

  async function readMany(reply: FastifyReply, entity: string, { keys, ...asked }: Asked & { keys: string[] }) {
    const items = await read(reply, entity, keys, asked)
    return Array.isArray(items) ? ({ entity, items: items.map(itemOf) } satisfies FeaturesBatchResponse) : items
  }

  function addEntity(app: FastifyInstance, stage: StagePlan): void {
    const entity = stage.entity.name
    for (const schema of entitySchemas(plan, stage)) app.addSchema(schema)
    app.get<{ Params: { key: string }; Querystring: Asked }>(
      `/features/${entity}/:key`,
      { schema: oneKeyRoute(stage) },
      ({ params, query }, reply) => readOne(reply, entity, params.key, query),
    )
    app.post<{ Body: Asked & { keys: string[] } }>(
      `/features/${entity}`,
      { schema: manyKeysRoute(stage) },
      ({ body }, reply) => readMany(reply, entity, body),
    )
  }

  return async (app: FastifyInstance): Promise<void> => {
    app.get('/entities', { schema: entitiesRoute }, async () => entities)
    for (const stage of plan.entityStages) addEntity(app, stage)
    // An unknown entity: the answer lists the known ones.
    const unknown = { schema: { hide: true } }
    app.get<{ Params: { entity: string; key: string } }>('/features/:entity/:key', unknown, ({ params }, reply) =>
      readOne(reply, params.entity, params.key, {}),
    )
    app.post<{ Params: { entity: string } }>('/features/:entity', unknown, ({ params }, reply) =>
      readMany(reply, params.entity, { keys: [] }),
    )
  }
}

function describeEntities(plan: Plan): EntitiesResponse {
  const streamNames = new Map(plan.streams.map(({ index, name }) => [index, name]))
  return {
    entities: plan.entityStages.map((stage) => ({
      name: stage.entity.name,
      features: featuresOf(plan, stage),
      aggregates: stage.entity.slots.map(({ name, kind, stream, overMs, lagMs }) => ({
        name,
        kind,
        stream: streamNames.get(stream) ?? String(stream),
        overMs,
        lagMs,
      })),
      retentionMs: stage.entity.retentionMs,
    })),
  }
}

function itemOf(answer: KeyAnswer): FeaturesItem | UnknownItem {
  return answer.found ? { ...answer, instant: new Date(answer.instant).toISOString() } : answer
}

function requestOf({ asOf, knowledge = 'now', clock = 'event' }: Asked, nowMs: number): ReadRequest | FailedRequest {
  if (asOf === undefined) return { knowledge, clock, nowMs }
  const instant = instantOf(asOf)
  if (instant !== null) return { asOf: instant, knowledge, clock, nowMs }
  return { status: 400, failure: invalidRequest('/asOf', instantText, asOf) }
}

function instantOf(asOf: string | number): number | null {
  const isCount = typeof asOf === 'number' || /^-?\d+$/.test(asOf)
  const instant = isCount ? Number(asOf) : rfc3339.test(asOf) ? Date.parse(asOf.toUpperCase()) : Number.NaN
  return Number.isInteger(instant) && instant >= instantMin && instant <= instantMax ? instant : null
}

function failedRequest(problem: ReadProblem): FailedRequest {
  if (problem.code === 'entity_unknown') {
    const { code, expected, received } = problem
    const message = `There is no entity ${received}; known are ${expected.join(', ')}.`
    return { status: 404, failure: { error: { code, message, path: '/entity', expected, received } } }
  }
  const received = new Date(problem.received).toISOString()
  // Of a task that has seen no event yet the time is −∞.
  const reached = Number.isFinite(problem.expected) ? new Date(problem.expected).toISOString() : null
  const expected = reached === null ? 'nothing before the first event' : `at most ${reached}`
  const message = `asOf ${received} lies ahead of the stream, which has ${reached === null ? 'no event yet' : `come to ${reached}`}.`
  return { status: 400, failure: { error: { code: problem.code, message, path: '/asOf', expected, received } } }
}

function sendFailure(reply: FastifyReply, { status, failure }: FailedRequest): FastifyReply {
  return reply.code(status).send(failure satisfies HttpFailure)
}
