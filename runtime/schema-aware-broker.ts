/**
 * A broker that resolves the writer schemas of records. Fetched records are returned once the schemas of all of them are known: by
 * fingerprint from the topic of schemas beside their raw topic and from the pipeline's own, from the schema registry by id. Producers and
 * workers are opened once this process's own schemas are in the pipeline's topic, and write into a raw topic once the schemas of its events
 * are beside it, so that every later reader finds them. Commands wrap their broker in it; nothing else handles schemas.
 */

import { PipelineError } from '../schemas/kernel/errors.ts'
import type { SchemasPlan } from '../schemas/plan/plan.ts'
import { confluentId, isConfluent } from '../schemas/wire/avro-fingerprint.ts'
import { avroType } from '../schemas/wire/avro-types.ts'
import type { WriterSchemas } from '../schemas/wire/writer-schemas.ts'
import type { Broker, FetchedPartition, Fetcher, Producer, Worker } from './broker.ts'
import type { Outgoing } from './framed-records.ts'
import type { Records } from './records.ts'
import { createSchemaLog, ownSchemas, type SchemaLog } from './schema-log.ts'
import type { SchemaRegistry } from './schema-registry.ts'

export interface SchemaAwareOptions {
  /** The topics of schemas and what the codecs know. */
  readonly schemas: SchemasPlan
  /** Null: none is configured. */
  readonly registry: SchemaRegistry | null
}

/** No more schemas than this are kept; a restart begins with none. */
const idsMax = 10_000
const lookupsAtOnceMax = 8

/** What one process knows of the topics of schemas. */
interface SchemaState {
  readonly writers: WriterSchemas
  readonly registry: SchemaRegistry | null
  /** The pipeline's own. */
  readonly log: SchemaLog
  /** Those beside raw topics, by raw topic. */
  readonly rawLogs: ReadonlyMap<string, SchemaLog>
  /** Of raw topics that this process has not written to. */
  readonly unannounced: Map<string, SchemaLog>
}

export function createSchemaAwareBroker(broker: Broker, { schemas, registry }: SchemaAwareOptions): Broker {
  const { writers } = schemas
  const log = createSchemaLog(broker.data, { ...schemas, own: () => [...ownSchemas(writers), schemas.definition] })
  // With those of earlier definitions, which the pipeline's own topic was read for.
  const rawLogs = new Map(
    schemas.raw.map(({ topic, of, record }) => [
      of,
      createSchemaLog(broker.data, { topic, writers, own: () => writers.named(record) }),
    ]),
  )
  const state: SchemaState = { writers, registry, log, rawLogs, unannounced: new Map(rawLogs) }
  writers.hasRegistry = registry !== null
  return {
    ...broker,
    data: {
      ...broker.data,
      fetcher: async () => learningFetcher(state, await broker.data.fetcher()),
      async producer() {
        await log.register()
        return announcingProducer(state, await broker.data.producer())
      },
    },
    groups: {
      ...broker.groups,
      async worker(options) {
        await log.register()
        await registerSubjects(writers, registry)
        return announcingWorker(state, await broker.groups.worker(options))
      },
    },
  }
}

function learningFetcher(state: SchemaState, fetcher: Fetcher): Fetcher {
  return {
    async fetch(from, limits) {
      const fetched = await fetcher.fetch(from, limits)
      await learn(state, fetched)
      return fetched
    },
    close: fetcher.close,
  }
}

async function learn({ writers, registry, log, rawLogs }: SchemaState, fetched: readonly FetchedPartition[]) {
  const lacking = new Set<string>()
  const ids = new Set<number>()
  for (const { topic, records } of fetched) {
    if (hasUnknown(writers, records)) lacking.add(topic)
    if (registry !== null) for (const id of unknownIds(writers, records)) ids.add(id)
  }
  // A writer's schema is in the topic before its first record is in any topic: what is not there now was never written.
  if (lacking.size > 0) {
    await Promise.all([...lacking].map((topic) => rawLogs.get(topic)?.readToEnd()))
    // Of internal topics, and of raw ones from before they had schemas beside them.
    if (fetched.some(({ records }) => hasUnknown(writers, records))) await log.readToEnd()
  }
  if (ids.size > 0 && registry !== null) await learnIds(writers, [...ids], registry)
}

/** Some record was written with a schema that is not known. */
function hasUnknown(writers: WriterSchemas, { bytes, valueStarts, valueEnds, length }: Records): boolean {
  for (let i = 0; i < length; i++) {
    if (valueStarts[i]! >= 0 && writers.lacks(bytes, valueStarts[i]!, valueEnds[i]!)) return true
  }
  return false
}

function unknownIds(writers: WriterSchemas, { bytes, valueStarts, valueEnds, length }: Records): Set<number> {
  const ids = new Set<number>()
  for (let i = 0; i < length; i++) {
    const start = valueStarts[i]!
    if (start < 0 || !isConfluent(bytes, start, valueEnds[i]!)) continue
    const id = confluentId(bytes, start)
    if (writers.findId(id) === undefined) ids.add(id)
  }
  return ids
}

async function learnIds(writers: WriterSchemas, ids: readonly number[], registry: SchemaRegistry): Promise<void> {
  for (let begin = 0; begin < ids.length; begin += lookupsAtOnceMax) {
    const asked = ids.slice(begin, begin + lookupsAtOnceMax)
    const answers = await Promise.all(asked.map((id) => registry.schemaOf(id)))
    answers.forEach((schema, i) => {
      if (schema !== null) writers.learnId(asked[i]!, schema)
    })
  }
  if (writers.idCount > idsMax) {
    throw new PipelineError('registry_overrun', `Events with more than ${idsMax} ids of the schema registry were read.`)
  }
}

/** Of topics that are written to only: a pipeline that reads the raw topics of others needs no right to write there. */
async function announce({ unannounced }: SchemaState, records: readonly Outgoing[]): Promise<void> {
  if (unannounced.size === 0) return
  const topics = new Set<string>()
  for (const { topic } of records) if (unannounced.has(topic)) topics.add(topic)
  for (const topic of topics) {
    await unannounced.get(topic)?.register()
    unannounced.delete(topic)
  }
}

function announcingProducer(state: SchemaState, producer: Producer): Producer {
  return {
    async send(records) {
      await announce(state, records)
      await producer.send(records)
    },
    close: producer.close,
  }
}

function announcingWorker(state: SchemaState, worker: Worker): Worker {
  return {
    ...worker,
    async transact(records, offsets, membership) {
      await announce(state, records)
      await worker.transact(records, offsets, membership)
    },
    async publish(records) {
      await announce(state, records)
      await worker.publish(records)
    },
  }
}

/** What workers publish, in the registry before their first record: most of it is there already. */
async function registerSubjects(writers: WriterSchemas, registry: SchemaRegistry | null): Promise<void> {
  for (const subject of writers.subjects.values()) {
    if (registry === null) {
      if (!subject.isRequired) continue
      throw new PipelineError(
        'config_invalid',
        `The definition publishes ${subject.subject.replace(/-value$/, '')} with ids of a schema registry (predictionFormat 'registry'): ` +
          'set SCHEMA_REGISTRY_URL.',
      )
    }
    // A session begins again after every rebalance: an outage of the registry must not stop one that has its id.
    if (writers.idOf(subject.subject) !== undefined) continue
    const id = await registry.register(subject)
    writers.assignId(subject.subject, id)
    if (subject.type === 'AVRO') writers.learnId(id, avroType(subject.schema))
  }
}
