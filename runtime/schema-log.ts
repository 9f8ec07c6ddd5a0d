/**
 * A topic of writer schemas, the pipeline's own or that beside a raw topic: one record per schema, its JSON text keyed by its fingerprint,
 * kept forever; JSON schemas of what is written as JSON lie beside them, for consumers, and what the features of a definition mean, for the
 * trainer (`definition-log.ts`), and the key of the hashes in facts (`hash-key-log.ts`). Read to its end when a record arrives whose schema
 * is unknown, and appended to before anything is written. Called by `schema-aware-broker.ts`.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { fingerprintBytes } from '../schemas/wire/avro-fingerprint.ts'
import { type AvroSchema, avroType } from '../schemas/wire/avro-types.ts'
import { definitionIn, definitionKey } from '../schemas/wire/definition-record.ts'
import { hashKeyIn } from '../schemas/wire/hash-key-record.ts'
import type { WriterSchemas } from '../schemas/wire/writer-schemas.ts'
import type { BrokerData, Fetcher, LogRecord } from './broker.ts'
import { readSpans } from './read-log.ts'

/** Anybody who may write the topic could fill the memory of every reader. */
const schemasMax = 10_000

export interface SchemaLog {
  /** Everything that was appended before the call is known when it resolves. Rejects with `record_unreadable` and the broker's codes. */
  readToEnd(): Promise<void>
  /** Appends those of `own` that the topic does not have. Two processes at once may both do so. */
  register(): Promise<void>
}

interface SchemaLogState {
  readonly broker: BrokerData
  readonly topic: string
  readonly writers: WriterSchemas
  /** What the topic must have, by the keys of its records. */
  readonly own: () => ReadonlyArray<readonly [string, object]>
  /** Fingerprints of the definition's own schemas, by the text that is appended for them. */
  readonly ownTexts: ReadonlyMap<string, string>
  /** Fingerprints that the topic has. */
  readonly written: Set<string>
  /** Null before the first read. */
  nextOffset: number | null
  fetcher: Fetcher | null
}

export function createSchemaLog(
  broker: SchemaLogState['broker'],
  { topic, writers, own }: Pick<SchemaLogState, 'topic' | 'writers' | 'own'>,
): SchemaLog {
  const state: SchemaLogState = {
    broker,
    topic,
    writers,
    own,
    ownTexts: new Map(own().map(([fingerprint, schema]) => [JSON.stringify(schema), fingerprint])),
    written: new Set(),
    nextOffset: null,
    fetcher: null,
  }
  /** One at a time: a fetcher serves one fetch at a time, and what one call has read the next need not read. */
  let last: Promise<void> = Promise.resolve()

  function inTurn(step: (state: SchemaLogState) => Promise<void>): Promise<void> {
    const turn = last.then(() => step(state))
    // The caller of this step gets its failure; the next step makes an attempt of its own.
    last = turn.catch(() => undefined)
    return turn
  }

  return { readToEnd: () => inTurn(readNew), register: () => inTurn(appendMissing) }
}

/** Of everything that the definition writes. */
export function ownSchemas({ own, subjects }: WriterSchemas): Array<readonly [string, object]> {
  const json = [...subjects.values()].filter(({ type }) => type === 'JSON')
  return [...own, ...json.map(({ schema }) => [jsonSchemaKey(JSON.stringify(schema)), schema] as const)]
}

function jsonSchemaKey(text: string): string {
  return `json-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
}

async function readNew(state: SchemaLogState): Promise<void> {
  const { broker, topic } = state
  const [found] = await broker.bounds([{ topic, partition: 0 }])
  assert(found, 'bounds are returned for every partition that was asked for')
  const from = Math.max(state.nextOffset ?? 0, found.start)
  if (from >= found.end) return
  // Assigned only once it is open, so that a failure to open it is retried by the next read.
  state.fetcher ??= await broker.fetcher()
  await readSpans(state.fetcher, [{ topic, partition: 0, from, end: found.end }], (record) => learn(state, record))
  state.nextOffset = found.end
}

function learn({ topic, writers, ownTexts, written }: SchemaLogState, { offset, value }: LogRecord): void {
  const text = String(value)
  const own = ownTexts.get(text)
  if (own !== undefined) {
    // Known since the definition was compiled: most of what a start reads is.
    written.add(own)
    return
  }
  try {
    const schema = JSON.parse(text) as AvroSchema
    if ('$schema' in schema) {
      written.add(jsonSchemaKey(text))
      return
    }
    const definition = definitionIn(schema)
    if (definition !== null) {
      written.add(definitionKey(definition.fingerprint))
      return
    }
    if (hashKeyIn(schema) !== null) return
    writers.learn(schema)
    written.add(fingerprintBytes(avroType(schema)).toString('hex'))
  } catch (cause) {
    throw new PipelineError(
      'record_unreadable',
      `The record at ${topic} partition 0 offset ${offset} is no Avro schema in JSON: ${(cause as Error).message}.`,
      { cause, details: { topic, offset } },
    )
  }
  if (writers.schemaCount > schemasMax) {
    const sentence = `More than ${schemasMax} schemas were read, the last of them from ${topic}.`
    throw new PipelineError('registry_overrun', sentence, { details: { topic } })
  }
}

async function appendMissing(state: SchemaLogState): Promise<void> {
  await readNew(state)
  const { broker, topic, own, written } = state
  const missing = own().filter(([fingerprint]) => !written.has(fingerprint))
  if (missing.length === 0) return
  const producer = await broker.producer()
  try {
    await producer.send(
      missing.map(([fingerprint, schema]) => {
        return { topic, partition: 0, key: Buffer.from(fingerprint), value: Buffer.from(JSON.stringify(schema)) }
      }),
    )
    for (const [fingerprint] of missing) written.add(fingerprint)
  } finally {
    await producer.close()
  }
}
