/**
 * The pipeline's topic of writer schemas: one record a schema, its text as JSON under its fingerprint, kept for ever. Read to its end
 * when a record comes whose schema is not known, appended to before anything is written; called by `schema-aware-broker.ts`.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { fingerprintBytes } from '../schemas/wire/avro-fingerprint.ts'
import { type AvroSchema, avroType } from '../schemas/wire/avro-types.ts'
import type { WriterSchemas } from '../schemas/wire/writer-schemas.ts'
import type { Broker, Fetcher, LogRecord } from './broker.ts'
import { readSpans } from './read-log.ts'

export interface SchemaLog {
  /** Everything that was appended before the call is known when it resolves. Rejects with `record_unreadable` and the broker's codes. */
  readToEnd(): Promise<void>
  /** Appends those of the definition's own schemas that the topic does not have. Two processes at once may both do so. */
  register(): Promise<void>
}

export function createSchemaLog(
  broker: Pick<Broker, 'bounds' | 'fetcher' | 'producer'>,
  { topic, writers }: { readonly topic: string; readonly writers: WriterSchemas },
): SchemaLog {
  /** Fingerprints of the definition's own schemas by the text that is appended for them. */
  const ownTexts = new Map([...writers.own].map(([fingerprint, schema]) => [JSON.stringify(schema), fingerprint]))
  /** Fingerprints that the topic has. */
  const written = new Set<string>()
  let next: number | null = null
  let fetcher: Fetcher | null = null
  /** One at a time: a fetcher answers one fetch at a time, and what one call has read the next need not. */
  let last: Promise<void> = Promise.resolve()

  function inTurn(step: () => Promise<void>): Promise<void> {
    const turn = last.then(step)
    // The failure is the caller's; whoever is next tries for themselves.
    last = turn.catch(() => undefined)
    return turn
  }

  async function read(): Promise<void> {
    const [found] = await broker.bounds([{ topic, partition: 0 }])
    assert(found, 'bounds answer what was asked for')
    const from = Math.max(next ?? 0, found.start)
    if (from >= found.end) return
    // Kept once it is open: a failure to open it is not.
    fetcher ??= await broker.fetcher()
    await readSpans(fetcher, [{ topic, partition: 0, from, end: found.end }], take)
    next = found.end
  }

  function take(record: LogRecord): void {
    const text = String(record.value)
    const own = ownTexts.get(text)
    if (own !== undefined) {
      // It is known since the definition was compiled: most of what a start finds is.
      written.add(own)
      return
    }
    try {
      const schema = JSON.parse(text) as AvroSchema
      writers.learn(schema)
      written.add(fingerprintBytes(avroType(schema)).toString('hex'))
    } catch (cause) {
      const place = `${topic} partition 0 offset ${record.offset}`
      throw new PipelineError(
        'record_unreadable',
        `The record at ${place} is no Avro schema in JSON: ${(cause as Error).message}.`,
        { cause, details: { topic, offset: record.offset } },
      )
    }
  }

  async function append(): Promise<void> {
    await read()
    const lacking = [...writers.own].filter(([fingerprint]) => !written.has(fingerprint))
    if (lacking.length === 0) return
    const producer = await broker.producer()
    try {
      await producer.send(
        lacking.map(([fingerprint, schema]) => {
          return { topic, partition: 0, key: Buffer.from(fingerprint), value: Buffer.from(JSON.stringify(schema)) }
        }),
      )
      for (const [fingerprint] of lacking) written.add(fingerprint)
    } finally {
      await producer.close()
    }
  }

  return { readToEnd: () => inTurn(read), register: () => inTurn(append) }
}
