/**
 * The shape of every error response, as a type and as a schema: errors come in, error responses go out. Called by the HTTP server for
 * errors that are thrown, and by routes that reject a request.
 */
import type { FastifyError } from 'fastify'
import { errorCatalogue, PipelineError } from '../../schemas/kernel/errors.ts'

export interface HttpFailure {
  readonly error: {
    readonly code: string
    readonly message: string
    /** JSON pointer to the invalid value in the body or the query, and what was expected there. */
    readonly path?: string
    readonly expected?: unknown
    readonly received?: unknown
    /** The known routes, where the path is unknown. */
    readonly routes?: readonly string[]
  }
}

export const failureSchema = {
  $id: 'failure',
  type: 'object',
  required: ['error'],
  additionalProperties: false,
  properties: {
    error: {
      type: 'object',
      required: ['code', 'message'],
      additionalProperties: false,
      properties: {
        code: { type: 'string', description: 'Switch on this, never on the message.' },
        message: { type: 'string' },
        path: { type: 'string', description: 'JSON pointer to what is wrong in the body or the query.' },
        expected: { description: 'What should have been there.' },
        received: { description: 'What was there; null for nothing.' },
        routes: { type: 'array', items: { type: 'string' } },
      },
    },
  },
  examples: [{ error: { code: 'request_invalid', message: '/keys should be a list of keys; received nothing.' } }],
} as const

/** For a route's `response` schema. */
export function failureResponse(description: string) {
  return { description, content: { 'application/json': { schema: { $ref: 'failure#' } } } }
}

export function failureOf(code: string, message: string): HttpFailure {
  return { error: { code, message } }
}

/** A request with an invalid value at `path`. */
export function invalidRequest(path: string, expected: string, received: unknown): HttpFailure {
  const shown = received === undefined ? 'nothing' : JSON.stringify(received).slice(0, 200)
  const message = `${path === '' ? 'The body' : path} should be ${expected}; received ${shown}.`
  return { error: { code: 'request_invalid', message, path, expected, received: received ?? null } }
}

export interface FailedRequest {
  readonly status: number
  readonly failure: HttpFailure
}

/** Null for a bug of ours, whose details must not be sent. */
export function failureFrom(error: FastifyError | Error): FailedRequest | null {
  // An outage: the client cannot help it, whether it is transient or an operator has to fix it.
  if (error instanceof PipelineError) {
    const { remedy } = errorCatalogue[error.code]
    return { status: 503, failure: failureOf(error.code, `${sentence(error.message)} ${remedy}`) }
  }
  const { validation, statusCode = 500 } = error as Partial<FastifyError>
  // Where a value matches none of several alternatives, the last violation is about all of them.
  const violation = validation?.at(-1) as Violation | undefined
  if (violation !== undefined) return { status: 400, failure: violated(violation) }
  return statusCode < 500 ? { status: statusCode, failure: failureOf('request_invalid', error.message) } : null
}

export function sentence(text: string): string {
  return text.endsWith('.') ? text : `${text}.`
}

/** As ajv reports it with `verbose`. */
interface Violation {
  readonly keyword: string
  readonly instancePath: string
  readonly message?: string
  readonly params: Readonly<Record<string, unknown>>
  readonly data?: unknown
  readonly parentSchema?: Schema
}

interface Schema {
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
}

/** `expected` is the description of the schema that is violated. */
function violated({ keyword, instancePath, message, params, data, parentSchema }: Violation): HttpFailure {
  const { properties = {}, description } = parentSchema ?? {}
  switch (keyword) {
    case 'required': {
      const name = String(params.missingProperty)
      return invalidRequest(`${instancePath}/${name}`, properties[name]?.description ?? 'a value', undefined)
    }
    case 'additionalProperties': {
      const name = String(params.additionalProperty)
      return invalidRequest(`${instancePath}/${name}`, `one of ${Object.keys(properties).join(', ')}`, name)
    }
    case 'enum':
      return invalidRequest(instancePath, `one of ${(params.allowedValues as string[]).join(', ')}`, data)
    default:
      return invalidRequest(instancePath, description ?? message?.replace(/^must (be )?/, '') ?? keyword, data)
  }
}
