/**
 * A Confluent-compatible schema registry: ids in, the schemas that events were written with out; asked by `schema-aware-broker.ts` for ids
 * that nobody asked for before. An id never changes its meaning, so that an answer holds for ever.
 */
import type avro from 'avsc'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { exactTypeFor } from '../schemas/wire/avro-types.ts'
import type { NotAvro } from '../schemas/wire/writer-schemas.ts'

export interface SchemaRegistry {
  /** Null: there is no schema of that id. Rejects with `registry_unreachable` after a few seconds. */
  schemaOf(id: number): Promise<avro.Type | NotAvro | null>
  /** For health: rejects with why the last question was not answered. */
  check(): Promise<void>
}

const requestMaxMs = 3_000
/** One more attempt here; whoever needs the answer tries again for as long as it does with Kafka and Redis. */
const retries = 1
const accepted = 'application/vnd.schemaregistry.v1+json, application/json'
/** By which a registry says that it has no such schema, and not that there is nothing at this path. */
const schemaNotFound = 40_403

/** `url`: with user and password where the registry asks for them. Nothing is connected before the first question. */
export function createSchemaRegistry(url: string): SchemaRegistry {
  const { username, password, href } = new URL(url)
  const bare = new URL(href)
  bare.username = bare.password = ''
  const host = bare.href.replace(/\/$/, '')
  const auth = { username: decodeURIComponent(username), password: decodeURIComponent(password) }
  const isOpen = username === '' && password === ''
  let client: Promise<{ getSchema(id: number): Promise<unknown> }> | null = null
  let failure: PipelineError | null = null

  /** Loaded with the first question: most pipelines never ask one. */
  async function load() {
    const { SchemaRegistry: Client, SchemaType } = await import('@kafkajs/confluent-schema-registry')
    return new Client(
      {
        host,
        ...(isOpen ? {} : { auth }),
        clientId: 'millrace',
        retry: { retries, maxRetryTimeInSecs: 1 },
        middlewares: [() => ({ prepareRequest: async (next) => (await next()).enhance({ timeout: requestMaxMs }) })],
      },
      { [SchemaType.AVRO]: { typeHook: exactTypeFor } },
    )
  }

  async function ask(id: number): Promise<avro.Type | NotAvro | null> {
    client ??= load()
    const loaded = await client
    try {
      const schema = await loaded.getSchema(id)
      return isAvro(schema) ? schema : { notAvro: `schema id ${id}, which is no Avro schema` }
    } catch (error) {
      return judge(id, error as Error)
    }
  }

  /**
   * The client's failures do not tell a schema that is not there, or is none of Avro's, from a wrong address, which answers 404 or
   * anything. Then events must wait until somebody has mended it, so the registry is asked for its very words.
   */
  async function judge(id: number, error: Error): Promise<NotAvro | null> {
    const { status, body } = await answer(id).catch(() => ({ status: null, body: null }))
    if (status === 404 && body?.error_code === schemaNotFound) return null
    const isUnread =
      status === 200 && typeof body?.schema === 'string' && error.name.startsWith('ConfluentSchemaRegistry')
    if (isUnread) return { notAvro: `schema id ${id}, which is no Avro schema: ${error.message}` }
    const reason = `The schema registry at ${host} did not give the schema of id ${id}: ${error.message}.`
    throw new PipelineError('registry_unreachable', reason, { cause: error })
  }

  async function answer(id: number) {
    const credentials = Buffer.from(`${auth.username}:${auth.password}`).toString('base64')
    const headers = { accept: accepted, ...(isOpen ? {} : { authorization: `Basic ${credentials}` }) }
    const response = await fetch(`${host}/schemas/ids/${id}`, { headers, signal: AbortSignal.timeout(requestMaxMs) })
    const body = (await response.json()) as { readonly error_code?: unknown; readonly schema?: unknown } | null
    return { status: response.status, body }
  }

  return {
    async schemaOf(id) {
      try {
        const schema = await ask(id)
        failure = null
        return schema
      } catch (error) {
        failure = error as PipelineError
        throw error
      }
    },
    async check() {
      if (failure !== null) throw failure
    },
  }
}

/** The client makes an avsc type of Avro schemas, and something of its own of others. */
function isAvro(schema: unknown): schema is avro.Type {
  return typeof (schema as Partial<avro.Type> | null)?.createResolver === 'function'
}
