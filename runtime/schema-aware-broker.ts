/**
 * A broker that knows what records were written with. What it fetches is handed over once the schemas of all its records are known: from
 * the pipeline's topic of schemas by fingerprint, from the schema registry by id. What is written through it is written once this
 * process's own schemas are in the topic, so that whoever reads later can read it. Commands wrap their broker in it; nobody else has to
 * think of schemas.
 */

import { PipelineError } from '../schemas/kernel/errors.ts'
import { confluentId, isConfluent } from '../schemas/wire/avro-fingerprint.ts'
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

/** More schemas than this are not kept: a restart begins with none. */
const idsMax = 10_000
const questionsAtOnceMax = 8

export function createSchemaAwareBroker(broker: Broker, { schemas, registry }: SchemaAwareOptions): Broker {
  const { writers } = schemas
  const log = createSchemaLog(broker, schemas)
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
    // A writer's schema is in the topic before its first record is in any: what is not there now was never announced.
    if (isLacking) await log.readToEnd()
    if (ids.size > 0 && registry !== null) await learnIds([...ids], registry)
  }

  async function learnIds(ids: readonly number[], registry: SchemaRegistry): Promise<void> {
    for (let begin = 0; begin < ids.length; begin += questionsAtOnceMax) {
      const asked = ids.slice(begin, begin + questionsAtOnceMax)
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
    fetcher: async () => schemaAwareFetcher(await broker.fetcher()),
    async producer() {
      await log.register()
      return broker.producer()
    },
    async worker(options) {
      await log.register()
      return broker.worker(options)
    },
  }
}
