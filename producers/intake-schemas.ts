/** What the HTTP intake takes and answers, as JSON schemas for the API's description; nothing is checked by them. Used by `intake.ts`. */
import { failureResponse } from '../runtime/http/failure.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { eventJsonSchema } from '../schemas/wire/event-json-schema.ts'

const text = { type: 'string' } as const

const problemSchema = {
  type: 'object',
  required: ['path', 'code', 'expected', 'received'],
  additionalProperties: false,
  properties: {
    path: { ...text, description: 'JSON pointer into the event, empty for the whole.' },
    code: text,
    expected: text,
    received: text,
  },
} as const

export const intakeAnswerSchema = {
  $id: 'intake.answer',
  type: 'object',
  required: ['accepted', 'rejected', 'results'],
  additionalProperties: false,
  properties: {
    accepted: { type: 'integer', minimum: 0, description: 'Events that are in their raw topic.' },
    rejected: { type: 'integer', minimum: 0, description: 'Events whose dead letters are in the rejected topic.' },
    results: {
      type: 'array',
      description: 'One an event, in their order.',
      items: {
        oneOf: [
          {
            type: 'object',
            required: ['status', 'stream', 'id', 'partition'],
            additionalProperties: false,
            properties: {
              status: { type: 'string', const: 'accepted' },
              stream: text,
              id: text,
              partition: { type: 'integer', minimum: 0 },
            },
          },
          {
            type: 'object',
            required: ['status', 'problems'],
            additionalProperties: false,
            properties: {
              status: { type: 'string', const: 'rejected' },
              problems: { type: 'array', minItems: 1, items: problemSchema },
            },
          },
        ],
      },
    },
  },
} as const

export const eventSchemaId = ({ name }: Pick<StreamPlan, 'name'>) => `event.${name}`

export function eventSchemaOf(stream: StreamPlan) {
  return { $id: eventSchemaId(stream), ...eventJsonSchema(stream) }
}

export interface ShownLimits {
  readonly batchEventsMax: number
  readonly bodyBytesMax: number
}

export function intakeRoute(stream: StreamPlan, { batchEventsMax, bodyBytesMax }: ShownLimits) {
  const event = { $ref: `${eventSchemaId(stream)}#` }
  const single = { type: 'string', format: 'binary', description: 'One event in Avro single-object encoding.' }
  const answer = (description: string) => ({
    description,
    content: { 'application/json': { schema: { $ref: 'intake.answer#' } } },
  })
  return {
    operationId: `send_${stream.name.replaceAll(/[^A-Za-z0-9_]/g, '_')}`,
    tags: ['events'],
    summary: `Send events of the stream ${stream.name}: one, or up to ${batchEventsMax}.`,
    description:
      'Answered once Kafka has acknowledged every event: valid ones in their raw topic, the others, as they came and ' +
      'with all that is wrong with them, in the rejected topic. Sending again is safe: duplicates are recognised by id.',
    body: {
      content: {
        'application/json': {
          schema: { anyOf: [event, { type: 'array', minItems: 1, maxItems: batchEventsMax, items: event }] },
        },
        'application/x-ndjson': { schema: { type: 'string', description: 'One JSON object a line.' } },
        'application/avro': { schema: single },
        'application/octet-stream': { schema: single },
      },
    },
    response: {
      200: answer('All events were accepted.'),
      207: answer('Some events were accepted, some rejected.'),
      400: failureResponse('There is no event in the body, or the request could not be read.'),
      413: failureResponse(`More than ${batchEventsMax} events or ${bodyBytesMax} bytes; nothing was taken.`),
      415: failureResponse('The body is of another type, or compressed.'),
      422: answer('All events were rejected.'),
      500: failureResponse('A mistake of this server; its log says more.'),
      503: failureResponse(
        'Kafka does not acknowledge, too much waits for it, or this process is stopping: send the request again.',
      ),
    },
  }
}
