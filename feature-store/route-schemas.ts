/**
 * What the feature routes take and answer, as JSON schemas of one definition; enforced and shown in the API's description by `routes.ts`.
 */
import { failureResponse } from '../runtime/http/failure.ts'
import { aggregateKinds } from '../schemas/definition/aggregates.ts'
import type { EntityPlan, Plan, StagePlan } from '../schemas/plan/plan.ts'
import { readings } from './query-place.ts'

export const keysMax = 1_000
const keyLengthMax = 1_024
/** The years that RFC 3339 can write, since answers name instants: 0001 to 9999, ms since 1970. */
export const instantMin = -62_135_596_800_000
export const instantMax = 253_402_300_799_999
export const instantText = 'an RFC 3339 instant with a zone, or ms since 1970, from the year 1 to 9999'
export const eventText = 'the id of an event; an instant is asked for with through=<instant>'
export const placeText = 'the place of an event: <instant>,<stream>,<partition>,<offset>'
/** Of an event's id. */
const idLengthMax = 4_096

const instantAsText = [
  { type: 'string', format: 'date-time' },
  { type: 'string', pattern: '^-?\\d{1,16}$' },
] as const
const instantAsNumber = { type: 'integer', minimum: instantMin, maximum: instantMax } as const

/** At most one of `asOf`, `through` and `place`, which `requestOf` checks: a schema could not say what to do. */
function querySchemas({ layout }: EntityPlan, { streams }: Pick<Plan, 'streams'>) {
  const names = layout.sources.map((source) => streams.find(({ index }) => index === source.stream)!.name)
  return {
    asOf: {
      type: 'string',
      description: eventText,
      minLength: 1,
      maxLength: idLengthMax,
      examples: ['mine-1'],
    },
    stream: {
      type: 'string',
      enum: names,
      description: 'Stream of the event that asOf names (by default the scored one).',
    },
    through: { description: instantText, anyOf: instantAsText, examples: ['2018-05-01T12:00:00Z'] },
    place: {
      type: 'string',
      description: placeText,
      pattern: '^[^,]{1,40},[^,]{1,200},\\d{1,4},\\d{1,16}$',
      examples: [`2018-05-01T12:00:00Z,${names[0]},0,1041`],
    },
    knowledge: {
      type: 'string',
      enum: ['now', 'then'],
      description:
        'With all that is known now about that place, or only what was known then. By default then with asOf and place, now otherwise.',
    },
    clock: {
      type: 'string',
      enum: ['event', 'wall'],
      description:
        'Without a place, what now is: the event time that the stream has come to (by default), or the wall clock.',
    },
  } as const
}

type QuerySchemas = ReturnType<typeof querySchemas>

function querySchema(properties: QuerySchemas) {
  return { type: 'object', additionalProperties: false, properties }
}

function bodySchema({ through, ...others }: QuerySchemas) {
  return {
    type: 'object',
    description: 'an object with keys',
    required: ['keys'],
    additionalProperties: false,
    properties: {
      keys: {
        type: 'array',
        description: `a list of 1 to ${keysMax} keys`,
        minItems: 1,
        maxItems: keysMax,
        items: {
          type: 'string',
          description: `a key as text of 1 to ${keyLengthMax} characters`,
          minLength: 1,
          maxLength: keyLengthMax,
        },
      },
      through: { ...through, anyOf: [...instantAsText, instantAsNumber] },
      ...others,
    },
  }
}

const text = { type: 'string' } as const
const whole = { type: 'integer' } as const
const texts = { type: 'array', items: text } as const
const json = (schema: object) => ({ 'application/json': { schema } })

export const entitiesRoute = {
  operationId: 'entities',
  tags: ['features'],
  summary: 'The entities, their features and the aggregates behind them.',
  response: {
    200: {
      description: 'In the order of the stages.',
      content: json({
        type: 'object',
        required: ['entities'],
        properties: {
          entities: {
            type: 'array',
            items: {
              type: 'object',
              required: ['name', 'features', 'aggregates', 'retentionMs'],
              properties: {
                name: text,
                features: { ...texts, description: "Features that this entity's facts alone give." },
                aggregates: {
                  type: 'array',
                  items: {
                    type: 'object',
                    required: ['name', 'kind', 'stream', 'overMs', 'lagMs'],
                    properties: {
                      name: text,
                      kind: { type: 'string', enum: Object.keys(aggregateKinds) },
                      stream: text,
                      overMs: whole,
                      lagMs: whole,
                    },
                  },
                },
                retentionMs: whole,
              },
            },
          },
        },
      }),
    },
  },
} as const

/** Features that can be read of a stage's entity. */
export function featuresOf(plan: Plan, { entity }: StagePlan): string[] {
  return plan.features.filter((feature) => feature.entity === entity.name).map(({ name }) => name)
}

/** Schemas of one entity's answers, to be added to the server under the `$id`s that the routes refer to. */
export function entitySchemas(plan: Plan, stage: StagePlan): ReadonlyArray<Record<string, unknown>> {
  const entity = stage.entity.name
  const names = featuresOf(plan, stage)
  const value = { type: ['number', 'null'], description: 'null is missing' }
  const properties = {
    found: { type: 'boolean', const: true },
    key: text,
    partition: whole,
    reading: {
      type: 'string',
      enum: readings,
      description: 'What was asked for: now, everything through an instant, or everything as of an event or its place.',
    },
    knowledge: { type: 'string', enum: ['now', 'then'] },
    instant: { type: 'string', format: 'date-time', description: 'The instant that the values are for.' },
    place: {
      type: ['string', 'null'],
      description:
        'Last event that counts, in canonical order, as the parameter place takes it; null: all of the instant do.',
    },
    passed: {
      type: 'boolean',
      description: 'The stream has passed that place: only late facts can still change the values.',
    },
    features: {
      type: 'object',
      required: names,
      additionalProperties: false,
      properties: Object.fromEntries(names.map((name) => [name, value])),
    },
    status: {
      type: 'string',
      enum: ['complete', 'before_retention'],
      description: 'before_retention: the features listed in beforeRetention need facts that are no longer kept.',
    },
    beforeRetention: texts,
    failed: {
      type: 'array',
      description: 'Features whose function threw; they are null.',
      items: { type: 'object', required: ['feature', 'message'], properties: { feature: text, message: text } },
    },
    facts: { ...whole, description: 'Facts of the key that are kept.' },
    newestFactAgeMs: { type: ['number', 'null'] },
  }
  const required = Object.keys(properties)
  return [
    { $id: `features.${entity}`, type: 'object', required, additionalProperties: false, properties },
    {
      $id: `features.${entity}.response`,
      type: 'object',
      required: ['entity', ...required],
      additionalProperties: false,
      properties: { entity: { type: 'string', const: entity }, ...properties },
    },
  ]
}

const refused = {
  400: failureResponse('The request is wrong, or what it asks for lies ahead of the stream.'),
  500: failureResponse('A mistake of this server; its log says more.'),
  503: failureResponse('Redis does not answer, or this process is stopping: try again.'),
}

export function oneKeyRoute(plan: Plan, { entity }: StagePlan) {
  const { name } = entity
  return {
    operationId: `${name}Features`,
    tags: ['features'],
    summary: `The features of one ${name}, now, as of an event, or through a past instant.`,
    params: {
      type: 'object',
      required: ['key'],
      properties: { key: { type: 'string', description: `Key of the ${name}.`, examples: ['596'] } },
    },
    querystring: querySchema(querySchemas(entity, plan)),
    response: {
      200: { description: `Features of the ${name}.`, content: json({ $ref: `features.${name}.response#` }) },
      ...refused,
      404: failureResponse(`There are no facts of this ${name} within retention, or no such event among them.`),
    },
  }
}

export function manyKeysRoute(plan: Plan, { entity }: StagePlan) {
  const { name } = entity
  const unknown = {
    type: 'object',
    required: ['found', 'key', 'partition'],
    additionalProperties: false,
    properties: { found: { type: 'boolean', const: false }, key: text, partition: whole },
  }
  return {
    operationId: `${name}FeaturesOfMany`,
    tags: ['features'],
    summary: `The features of up to ${keysMax} keys of ${name} at once.`,
    body: bodySchema(querySchemas(entity, plan)),
    response: {
      200: {
        description: 'One item a key, in the order of the keys.',
        content: json({
          type: 'object',
          required: ['entity', 'items'],
          additionalProperties: false,
          properties: {
            entity: { type: 'string', const: name },
            items: { type: 'array', items: { oneOf: [{ $ref: `features.${name}#` }, unknown] } },
          },
        }),
      },
      ...refused,
      404: failureResponse('None of the keys has facts of the event within retention.'),
      413: failureResponse('The body is longer than 1 MiB.'),
      415: failureResponse('The body is no application/json.'),
    },
  }
}
