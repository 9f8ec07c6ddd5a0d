/**
 * A broker that resolves the writer schemas of records. Fetched records are returned once the schemas of all of them are known: from the
 * pipeline's topic of schemas by fingerprint, from the schema registry by id. Producers and workers are opened once this process's own
 * schemas are in that topic, so that every later reader finds them. Commands wrap their broker in it; nothing else handles schemas.
 */

import { PipelineError } from '../schemas/kernel/errors.ts'
import { confluentId, isConfluent } from '../schemas/wire/avro-fingerprint.ts'
import { avroType } from '../schemas/wire/avro-types.ts'
import type { WriterSchemas } from '../schemas/wire/writer-schemas.ts'
import type { Broker, FetchedPartition, Fetcher } from './broker.ts'
import { createSchemaLog } from './schema-log.ts'
import type { SchemaRegistry } from './schema-registry.ts'

export interface SchemaAwareOptions {
  /** The pipeline's topic of schemas and what its codecs know. */
  readonly schemas: { readonly topic: string; readonly writers: WriterSchemas }
  /** Null: none is configured. */
  readonly registry: SchemaRegistry | null
}

/** No more schemas than this are kept; a restart begins with none. */
const idsMax = 10_000
const lookupsAtOnceMax = 8

export function createSchemaAwareBroker(broker: Broker, { schemas, registry }: SchemaAwareOptions): Broker {
  const { writers } = schemas
  const log = createSchemaLog(broker.data, schemas)
  writers.hasRegistry = registry !== null

  async function learn(fetched: readonly FetchedPartition[]): Promise<void> {
    let isLacking = false
    const ids = new Set<number>()
    for (const { records } of fetched) {
      for (const { value } of records) {
        if (value === null) continue
        if (writers.lacks(value)) isLacking = true
        else if (registry !== null && isConfluent(value) && writers.findId(confluentId(value)) === undefined)
          ids.add(confluentId(value))
      }
    }
    // A writer's schema is in the topic before its first record is in any topic: what is not there now was never written.
    if (isLacking) await log.readToEnd()
    if (ids.size > 0 && registry !== null) await learnIds([...ids], registry)
  }

  async function learnIds(ids: readonly number[], registry: SchemaRegistry): Promise<void> {
    for (let begin = 0; begin < ids.length; begin += lookupsAtOnceMax) {
      const asked = ids.slice(begin, begin + lookupsAtOnceMax)
      const answers = await Promise.all(asked.map((id) => registry.schemaOf(id)))
      answers.forEach((schema, i) => {
        if (schema !== null) writers.learnId(asked[i]!, schema)
      })
    }
    if (writers.idCount > idsMax) {
      throw new PipelineError(
        'registry_overrun',
        `Events with more than ${idsMax} ids of the schema registry were read.`,
      )
    }
  }

  function schemaAwareFetcher(fetcher: Fetcher): Fetcher {
    return {
      async fetch(from, limits) {
        const fetched = await fetcher.fetch(from, limits)
        await learn(fetched)
        return fetched
      },
      close: fetcher.close,
    }
  }

  return {
    ...broker,
    data: {
      ...broker.data,
      fetcher: async () => schemaAwareFetcher(await broker.data.fetcher()),
      async producer() {
        await log.register()
        return broker.data.producer()
      },
    },
    groups: {
      ...broker.groups,
      async worker(options) {
        await log.register()
        await registerSubjects(writers, registry)
        return broker.groups.worker(options)
      },
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
