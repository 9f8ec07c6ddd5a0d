/**
 * A Confluent-compatible schema registry: ids come in, the schemas that events were written with go out, and the other way for what is
 * published. Called by
 * `schema-aware-broker.ts` once per id: an id never changes its meaning, so a schema is never requested again.
 */
import type avro from 'avsc'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { exactTypeFor } from '../schemas/wire/avro-types.ts'
import type { NotAvro, SubjectSchema } from '../schemas/wire/writer-schemas.ts'

export interface SchemaRegistry {
  /** Null: there is no schema of that id. Rejects with `registry_unreachable` after a few seconds. */
  schemaOf(id: number): Promise<avro.Type | NotAvro | null>
  /**
   * The id of the subject's schema, as its newest version unless it has it already. Rejects with `registry_rejected` where the registry
   * does not accept it, for example as incompatible with the version before, and with `registry_unreachable`.
   */
  register(subject: SubjectSchema): Promise<number>
  /** For health: rejects with the failure of the last request, if it failed. */
  check(): Promise<void>
}

const requestMaxMs = 3_000
/** One more attempt here: the caller retries this outage like one of Kafka or Redis. */
const retries = 1
const accepted = 'application/vnd.schemaregistry.v1+json, application/json'
/** The error code of a registry that has no such schema, as opposed to a server that has nothing at this path. */
const schemaNotFound = 40_403

interface RegistryConnection {
  /** Address without credentials and without a slash at its end. */
  readonly host: string
  /** Null where the registry requires none. */
  readonly auth: { readonly username: string; readonly password: string } | null
  client: Promise<{ getSchema(id: number): Promise<unknown> }> | null
}

/** `url`: with user and password where the registry requires them. Connects with the first request. */
export function createSchemaRegistry(url: string): SchemaRegistry {
  const connection = connectionOf(url)
  let failure: PipelineError | null = null

  async function noted<T>(request: () => Promise<T>): Promise<T> {
    try {
      const answer = await request()
      failure = null
      return answer
    } catch (error) {
      failure = error as PipelineError
      throw error
    }
  }

  return {
    schemaOf: (id) => noted(() => fetchSchema(connection, id)),
    register: (subject) => noted(() => registerSubject(connection, subject)),
    async check() {
      if (failure !== null) throw failure
    },
  }
}

function connectionOf(url: string): RegistryConnection {
  const { username, password, href } = new URL(url)
  const bare = new URL(href)
  bare.username = bare.password = ''
  const isOpen = username === '' && password === ''
  return {
    host: bare.href.replace(/\/$/, ''),
    auth: isOpen ? null : { username: decodeURIComponent(username), password: decodeURIComponent(password) },
    client: null,
  }
}

/** The package is loaded with the first request: most pipelines never make one. */
async function loadClient({ host, auth }: RegistryConnection) {
  const { SchemaRegistry: Client, SchemaType } = await import('@kafkajs/confluent-schema-registry')
  return new Client(
    {
      host,
      ...(auth === null ? {} : { auth }),
      clientId: 'millrace',
      retry: { retries, maxRetryTimeInSecs: 1 },
      middlewares: [() => ({ prepareRequest: async (next) => (await next()).enhance({ timeout: requestMaxMs }) })],
    },
    { [SchemaType.AVRO]: { typeHook: exactTypeFor } },
  )
}

async function fetchSchema(connection: RegistryConnection, id: number): Promise<avro.Type | NotAvro | null> {
  connection.client ??= loadClient(connection)
  const client = await connection.client
  try {
    const schema = await client.getSchema(id)
    return isAvro(schema) ? schema : { notAvro: `schema id ${id}, which is no Avro schema` }
  } catch (error) {
    return explainFailure(connection, id, error as Error)
  }
}

/**
 * The client's errors do not distinguish a schema that does not exist, or is not Avro, from a wrong address, which answers 404 or anything
 * else. With a wrong address events must wait until somebody has fixed it, so the request is repeated to report the registry's own
 * response.
 */
async function explainFailure(connection: RegistryConnection, id: number, error: Error): Promise<NotAvro | null> {
  const { status, body } = await requestSchema(connection, id).catch(() => ({ status: null, body: null }))
  if (status === 404 && body?.error_code === schemaNotFound) return null
  const isUnread =
    status === 200 && typeof body?.schema === 'string' && error.name.startsWith('ConfluentSchemaRegistry')
  if (isUnread) return { notAvro: `schema id ${id}, which is no Avro schema: ${error.message}` }
  const reason = `The schema registry at ${connection.host} did not give the schema of id ${id}: ${error.message}.`
  throw new PipelineError('registry_unreachable', reason, { cause: error })
}

interface RegistryAnswer {
  readonly id?: unknown
  readonly schema?: unknown
  readonly error_code?: unknown
  readonly message?: unknown
}

const requestSchema = (connection: RegistryConnection, id: number) => request(connection, `/schemas/ids/${id}`)

async function request({ host, auth }: RegistryConnection, path: string, body?: object) {
  const credentials = auth && Buffer.from(`${auth.username}:${auth.password}`).toString('base64')
  const headers = {
    accept: accepted,
    ...(credentials === null ? {} : { authorization: `Basic ${credentials}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/vnd.schemaregistry.v1+json' }),
  }
  const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const response = await fetch(`${host}${path}`, { ...sent, headers, signal: AbortSignal.timeout(requestMaxMs) })
  const answer = (await response.json()) as RegistryAnswer | null
  return { status: response.status, body: answer }
}

/** By a request of our own: the client would also change the compatibility that an operator has set for the subject. */
async function registerSubject(connection: RegistryConnection, { subject, type, schema }: SubjectSchema) {
  const path = `/subjects/${encodeURIComponent(subject)}/versions`
  const sent = { schema: JSON.stringify(schema), ...(type === 'AVRO' ? {} : { schemaType: type }) }
  const { status, body } = await request(connection, path, sent).catch((cause: Error) => {
    const reason = cause.cause instanceof Error ? cause.cause.message : cause.message
    const message = `The schema registry at ${connection.host} did not register ${subject}: ${reason}.`
    throw new PipelineError('registry_unreachable', message, { cause })
  })
  if (status === 200 && Number.isSafeInteger(body?.id)) return body?.id as number
  // Of a conflict and of an invalid schema; with the rest it is no answer to the question.
  const isRefused = status === 409 || status === 422
  throw new PipelineError(
    isRefused ? 'registry_rejected' : 'registry_unreachable',
    `The schema registry at ${connection.host} ${isRefused ? 'does not accept' : 'did not register'} the schema of ${subject}: ` +
      `it answered ${status}, ${String(body?.message ?? 'without a message').replace(/\.$/, '')}.`,
  )
}

/** The client returns an avsc type for Avro schemas, and types of its own for others. */
function isAvro(schema: unknown): schema is avro.Type {
  return typeof (schema as Partial<avro.Type> | null)?.createResolver === 'function'
}
