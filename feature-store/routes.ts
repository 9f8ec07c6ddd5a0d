/**
 * The HTTP interface to features, a Fastify plugin: what can be asked, the features of one key, the features of many.
 * The command line registers it with a server of `runtime/http/server.ts`, which answers requests that its schemas reject and failures.
 */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { FailedRequest, HttpFailure } from '../runtime/http/failure.ts'
import type { AggregateKind } from '../schemas/definition/aggregates.ts'
import type { Plan, StagePlan } from '../schemas/plan/plan.ts'
import type { Knowledge } from './aggregates/read-slots.ts'
import type { Reading } from './query-place.ts'
import { type Asked, failedQuery, placeAsText, queryOf } from './query-text.ts'
import type { FeatureReader, KeyAnswer, ReadRequest } from './reader.ts'
import { entitiesRoute, entitySchemas, featuresOf, manyKeysRoute, oneKeyRoute } from './route-schemas.ts'

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
  readonly reading: Reading
  readonly knowledge: Knowledge
  /** RFC 3339: the instant that the values are for. */
  readonly instant: string
  /** Last event of the instant that counts, as the parameter `place` takes it; null: all of them do. */
  readonly place: string | null
  /** The stream has passed that place: only late facts can still change the values. */
  readonly passed: boolean
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

export function featureRoutes(reader: FeatureReader, plan: Plan, { nowMs }: RouteOptions) {
  const entities = describeEntities(plan)

  async function read(reply: FastifyReply, entity: string, keys: readonly string[], asked: Asked) {
    const request = queryOf(asked, plan, nowMs())
    if ('failure' in request) return sendFailure(reply, request)
    const answer = await reader.read(entity, keys, request)
    if (!answer.ok) return sendFailure(reply, failedQuery(answer.problem, { entity, plan }))
    return answer.items.map((item) => itemOf(item, request, plan))
  }

  async function readOne(reply: FastifyReply, entity: string, key: string, asked: Asked) {
    const items = await read(reply, entity, [key], asked)
    if (!Array.isArray(items)) return items
    const [item] = items
    if (item?.found) return { entity, ...item } satisfies FeaturesResponse
    const message = `${entity} ${key} has no facts within retention (partition ${item?.partition}).`
    return sendFailure(reply, {
      status: 404,
      failure: { error: { code: 'key_unknown', message, path: '/key', received: key } },
    })
  }

  async function readMany(reply: FastifyReply, entity: string, { keys, ...asked }: Asked & { keys: string[] }) {
    const items = await read(reply, entity, keys, asked)
    return Array.isArray(items) ? ({ entity, items } satisfies FeaturesBatchResponse) : items
  }

  function addEntity(app: FastifyInstance, stage: StagePlan): void {
    const entity = stage.entity.name
    for (const schema of entitySchemas(plan, stage)) app.addSchema(schema)
    app.get<{ Params: { key: string }; Querystring: Asked }>(
      `/features/${entity}/:key`,
      { schema: oneKeyRoute(plan, stage) },
      ({ params, query }, reply) => readOne(reply, entity, params.key, query),
    )
    app.post<{ Body: Asked & { keys: string[] } }>(
      `/features/${entity}`,
      { schema: manyKeysRoute(plan, stage) },
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

function itemOf(answer: KeyAnswer, { at, knowledge }: ReadRequest, plan: Plan): FeaturesItem | UnknownItem {
  if (!answer.found) return answer
  const { place } = answer
  return {
    ...answer,
    reading: at.reading,
    knowledge,
    instant: new Date(place.time).toISOString(),
    place: Number.isFinite(place.order) ? placeAsText(place, plan) : null,
  }
}

function sendFailure(reply: FastifyReply, { status, failure }: FailedRequest): FastifyReply {
  return reply.code(status).send(failure satisfies HttpFailure)
}
