import { describe, expect, test } from 'vitest'
import type { Broker } from '../../runtime/broker.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createMemorySchemaRegistry } from '../../runtime/memory/schema-registry.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import { createSchemaRegistry, type SchemaRegistry } from '../../runtime/schema-registry.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { FieldPlan } from '../../schemas/kernel/event.ts'
import { avroType } from '../../schemas/wire/avro-types.ts'
import { definitionEntry } from '../../schemas/wire/definition-record.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { createPredictionCodec } from '../../schemas/wire/prediction-codec.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { createWriterSchemas } from '../../schemas/wire/writer-schemas.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { startRegistry } from '../support/registry-server.ts'

const id: FieldPlan = { name: 'id', kind: 'text', optional: false }
const note: FieldPlan = { name: 'note', kind: 'text', optional: true }
const topic = 'p.schemas'
const definition = definitionEntry('print', [{ name: 'amount', identity: 'of amount' }])

async function withBroker() {
  const memory = createMemoryBroker({ clock: createVirtualClock(0) })
  await memory.admin.ensureTopics([topic, 'orders'].map((name) => ({ topic: name, partitions: 1, config: {} })))
  let endsAsked = 0
  const broker: Broker = {
    ...memory,
    data: {
      ...memory.data,
      bounds(partitions) {
        endsAsked++
        return memory.data.bounds(partitions)
      },
    },
  }
  /** A process of a definition with these fields. */
  function process(fields: readonly FieldPlan[], registry: SchemaRegistry | null = null) {
    const writers = createWriterSchemas()
    const codec = createEventCodec('orders', 'shop', fields, writers)
    return {
      codec,
      broker: createSchemaAwareBroker(broker, { schemas: { topic, writers, definition, raw: [] }, registry }),
    }
  }
  const append = async (...values: readonly Buffer[]) => {
    const producer = await memory.data.producer()
    await producer.send(values.map((value) => ({ topic: 'orders', partition: 0, key: null, value })))
  }
  const fetchFrom = async ({ broker: from }: ReturnType<typeof process>, offset: number) => {
    const fetcher = await from.data.fetcher()
    const [fetched] = await fetcher.fetch([{ topic: 'orders', partition: 0, offset }], {
      maxWaitMs: 0,
      partitionBytesMax: 100_000,
    })
    await fetcher.close()
    return [...fetched!.records].map(({ value }) => value!)
  }
  /** Beside the definition. */
  const schemasWritten = async () => (await memory.data.bounds([{ topic, partition: 0 }]))[0]!.end - 1
  return { memory, process, append, fetchFrom, schemasWritten, endsAsked: () => endsAsked }
}

test("a process's own schemas are in the topic before it can write, once", async () => {
  const { process, schemasWritten } = await withBroker()
  const old = process([id])
  await old.broker.data.producer()
  expect(await schemasWritten()).toBe(1)
  await old.broker.data.producer()
  await process([id]).broker.data.producer()
  expect(await schemasWritten()).toBe(1)
  await process([id, note]).broker.data.producer()
  expect(await schemasWritten()).toBe(2)
})

test('what a newer process writes is read by one that has run for long', async () => {
  const { process, append, fetchFrom, endsAsked } = await withBroker()
  const old = process([id])
  await old.broker.data.producer()
  await append(old.codec.encode({ id: 'a' }))
  const before = endsAsked()
  expect((await fetchFrom(old, 0)).map(old.codec.decode)).toEqual([{ ok: true, event: { id: 'a' } }])
  expect(endsAsked()).toBe(before)
  const newer = process([id, note])
  await newer.broker.data.producer()
  await append(newer.codec.encode({ id: 'b', note: 'x' }), old.codec.encode({ id: 'c' }))
  expect((await fetchFrom(old, 1)).map(old.codec.decode)).toMatchObject([
    { event: { id: 'b' } },
    { event: { id: 'c' } },
  ])
  expect((await fetchFrom(newer, 0)).map(newer.codec.decode)).toMatchObject([
    { event: { id: 'a', note: null } },
    { event: { id: 'b', note: 'x' } },
    { event: { id: 'c', note: null } },
  ])
})

test('garbage costs one read of the end of the topic per fetch, and is rejected', async () => {
  const { process, append, fetchFrom, endsAsked } = await withBroker()
  const reader = process([id])
  const garbage = Array.from({ length: 50 }, (_, i) => Buffer.from(`c301${i.toString(16).padStart(16, '0')}02`, 'hex'))
  await append(...garbage)
  const before = endsAsked()
  for (const value of await fetchFrom(reader, 0)) {
    expect(reader.codec.decode(value)).toMatchObject({ problems: [{ code: 'schema_unknown' }] })
  }
  expect(endsAsked()).toBe(before + 1)
})

test('a record of the topic that is no schema is named', async () => {
  const { memory, process } = await withBroker()
  const producer = await memory.data.producer()
  await producer.send([{ topic, partition: 0, key: null, value: Buffer.from('{"type":"nothing"}') }])
  await expect(process([id]).broker.data.producer()).rejects.toMatchObject({
    code: 'record_unreadable',
    message: expect.stringMatching(
      /^The record at p.schemas partition 0 offset 0 is no Avro schema in JSON: .*nothing/,
    ),
  })
})

test('ids of the registry are requested once, missing ones again', async () => {
  const { process, append, fetchFrom } = await withBroker()
  const asked: number[] = []
  const registry: SchemaRegistry = {
    ...createMemorySchemaRegistry(),
    async schemaOf(one) {
      asked.push(one)
      if (one === 3) return null
      return avroType({ type: 'record', name: 'any', fields: [{ name: 'id', type: 'string' }] })
    },
    check: async () => undefined,
  }
  const reader = process([id], registry)
  const written = (one: number) => Buffer.from([0, 0, 0, 0, one, 2, 0x61])
  await append(written(1), written(1), written(2), written(3), Buffer.from('{"id":"j"}'), Buffer.from([0, 1]))
  const decoded = async () => (await fetchFrom(reader, 0)).map(reader.codec.decode)
  const event = { event: { id: 'a' } }
  const unknown = { problems: [{ code: 'schema_unknown', received: 'schema id 3' }] }
  const json = { event: { id: 'j' } }
  expect(await decoded()).toMatchObject([event, event, event, unknown, json, { problems: [{ code: 'not_json' }] }])
  expect(asked).toEqual([1, 2, 3])
  await decoded()
  expect(asked).toEqual([1, 2, 3, 3])
})

test('nothing is handed over while the registry does not answer', async () => {
  const { process, append, fetchFrom } = await withBroker()
  const failure = new Error('no answer')
  const registry = { ...createMemorySchemaRegistry(), schemaOf: () => Promise.reject(failure) }
  await append(Buffer.from([0, 0, 0, 0, 1, 2, 0x61]))
  await expect(fetchFrom(process([id], registry), 0)).rejects.toBe(failure)
})

test('a process that could not read the schemas once reads them when it tries again', async () => {
  const { memory, process } = await withBroker()
  await process([id]).broker.data.producer()
  let failures = 1
  const writers = createWriterSchemas()
  createEventCodec('orders', 'shop', [id, note], writers)
  const unsteady: Broker = {
    ...memory,
    data: {
      ...memory.data,
      async fetcher() {
        if (failures-- > 0) throw new PipelineError('kafka_unreachable', 'gone for a moment')
        return memory.data.fetcher()
      },
    },
  }
  const broker = createSchemaAwareBroker(unsteady, { schemas: { topic, writers, definition, raw: [] }, registry: null })
  await expect(broker.data.producer()).rejects.toMatchObject({ code: 'kafka_unreachable' })
  await broker.data.producer()
})

test('what workers publish is in the registry before they write, and they say so where there is none', async () => {
  const { memory } = await withBroker()
  const options = { group: 'g', name: 'w', stages: [] } as never
  function processOf(registry: SchemaRegistry | null) {
    const writers = createWriterSchemas()
    const codec = createPredictionCodec({
      namespace: 'shop',
      topic: 'shop.predictions',
      features: ['amount'],
      format: 'registry',
      writers,
    })
    return {
      codec,
      writers,
      broker: createSchemaAwareBroker(memory, { schemas: { topic, writers, definition, raw: [] }, registry }),
    }
  }
  await expect(processOf(null).broker.groups.worker(options)).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining('set SCHEMA_REGISTRY_URL'),
  })
  const server = await startRegistry()
  server.add({ type: 'record', name: 'other', fields: [] })
  const { broker, writers, codec } = processOf(createSchemaRegistry(server.url))
  await broker.groups.worker(options)
  await broker.groups.worker(options)
  // Once a process, not once a session.
  expect(server.asked).toEqual(['POST /subjects/shop.predictions-value/versions'])
  expect(writers.idOf('shop.predictions-value')).toBe(2)
  expect([...codec.encode(onePrediction).subarray(0, 5)]).toEqual([0, 0, 0, 0, 2])

  const refusing = await startRegistry()
  refusing.failures.push({
    status: 409,
    body: '{"error_code":409,"message":"Schema being registered is incompatible."}',
  })
  await expect(processOf(createSchemaRegistry(refusing.url)).broker.groups.worker(options)).rejects.toMatchObject({
    code: 'registry_rejected',
    retry: false,
    message: expect.stringMatching(
      /does not accept the schema of shop.predictions-value: it answered 409, Schema being/,
    ),
  })
  const away = createSchemaRegistry('http://127.0.0.1:1')
  await expect(processOf(away).broker.groups.worker(options)).rejects.toMatchObject({ code: 'registry_unreachable' })
})

test('the JSON schema of predictions lies in the topic of schemas, and readers of it pass over it', async () => {
  const { memory, process, fetchFrom, append } = await withBroker()
  const writers = createWriterSchemas()
  createPredictionCodec({ namespace: 'shop', topic: 'shop.predictions', features: ['amount'], format: 'json', writers })
  const server = await startRegistry()
  const registered = createSchemaRegistry(server.url)
  for (const registry of [null, null, registered]) {
    const broker = createSchemaAwareBroker(memory, { schemas: { topic, writers, definition, raw: [] }, registry })
    await broker.groups.worker({ group: 'g', name: 'w', stages: [] } as never)
  }
  const fetcher = await memory.data.fetcher()
  const [fetched] = await fetcher.fetch([{ topic, partition: 0, offset: 0 }], {
    maxWaitMs: 0,
    partitionBytesMax: 100_000,
  })
  const json = [...fetched!.records].filter(({ key }) => String(key).startsWith('json-'))
  expect(json.map(({ value }) => JSON.parse(String(value)).title)).toEqual(['shop.prediction'])
  // A reader that has to search the topic for another schema.
  const newer = process([id, note])
  await newer.broker.data.producer()
  await append(newer.codec.encode({ id: 'b', note: 'x' }))
  const reader = process([id])
  expect((await fetchFrom(reader, 0)).map(reader.codec.decode)).toMatchObject([{ event: { id: 'b' } }])
  expect(server.asked).toEqual(['POST /subjects/shop.predictions-value/versions'])
})

const onePrediction: Prediction = {
  id: 'a',
  time: 0,
  score: null,
  modelVersion: null,
  features: [1],
  fingerprint: 'f',
  origin: { partition: 0, offset: 0 },
  positions: [],
  reasons: [],
  shadow: [],
}

describe('schemas beside a raw topic', () => {
  /** Pipelines that share the raw topic `orders`, each with a topic of schemas of its own. */
  async function withPipelines() {
    const memory = createMemoryBroker({ clock: createVirtualClock(0) })
    const topics = ['orders', 'orders.schemas', 'a.schemas', 'b.schemas']
    await memory.admin.ensureTopics(topics.map((name) => ({ topic: name, partitions: 1, config: {} })))
    function pipeline(name: string, fields: readonly FieldPlan[]) {
      const writers = createWriterSchemas()
      const codec = createEventCodec('orders', name, fields, writers)
      const raw = [{ topic: 'orders.schemas', of: 'orders', record: `${name}.orders` }]
      const schemas = { topic: `${name}.schemas`, writers, definition, raw }
      return { codec, broker: createSchemaAwareBroker(memory, { schemas, registry: null }) }
    }
    const send = async ({ broker, codec }: ReturnType<typeof pipeline>, event: Record<string, string>) => {
      const producer = await broker.data.producer()
      await producer.send([{ topic: 'orders', partition: 0, key: null, value: codec.encode(event) }])
    }
    const readBy = async ({ broker, codec }: ReturnType<typeof pipeline>) => {
      const fetcher = await broker.data.fetcher()
      const from = [{ topic: 'orders', partition: 0, offset: 0 }]
      const [fetched] = await fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax: 100_000 })
      return [...fetched!.records].map(({ value }) => codec.decode(value))
    }
    const endOf = async (name: string) => (await memory.data.bounds([{ topic: name, partition: 0 }]))[0]!.end
    return { memory, pipeline, send, readBy, endOf }
  }

  test('are known to every pipeline that reads it, whoever wrote', async () => {
    const { pipeline, send, readBy, endOf } = await withPipelines()
    const [a, b] = [pipeline('a', [id]), pipeline('b', [id, note])]
    await send(a, { id: '1' })
    await send(b, { id: '2', note: 'x' })
    await send(b, { id: '3', note: 'y' })
    expect(await endOf('orders.schemas')).toBe(2)
    const ids = ['1', '2', '3'].map((one) => ({ ok: true, event: { id: one } }))
    expect(await readBy(a)).toMatchObject(ids)
    expect(await readBy(b)).toMatchObject(ids)
    expect(await readBy(pipeline('b', [id]))).toMatchObject(ids)
  })

  test('are not written by a pipeline that only reads it', async () => {
    const { pipeline, endOf } = await withPipelines()
    const { broker } = pipeline('a', [id])
    await (await broker.data.producer()).send([])
    await broker.groups.worker({ group: 'g', worker: 'w', stages: [], sessionTimeoutMs: 1, transactionTimeoutMs: 1 })
    expect([await endOf('a.schemas'), await endOf('orders.schemas')]).toEqual([2, 0])
  })

  test('are written before the records of a transaction', async () => {
    const { pipeline, readBy, endOf } = await withPipelines()
    const { broker, codec } = pipeline('a', [id, note])
    const stages = [{ stage: 's', topics: ['orders'], partitions: 1 }]
    const limits = { sessionTimeoutMs: 1_000, transactionTimeoutMs: 1_000 }
    const worker = await broker.groups.worker({ group: 'g', worker: 'w', stages, ...limits })
    const value = codec.encode({ id: '1', note: 'x' })
    await worker.transact([{ topic: 'orders', partition: 0, key: null, value }], [], await worker.join())
    expect(await endOf('orders.schemas')).toBe(1)
    expect(await readBy(pipeline('b', [id]))).toMatchObject([{ ok: true, event: { id: '1' } }])
  })

  test('include those that the pipeline wrote with before there was such a topic', async () => {
    const { memory, pipeline, send, readBy } = await withPipelines()
    // As it was: the schema is in the pipeline's own topic only.
    const old = pipeline('a', [id])
    await old.broker.data.producer()
    const producer = await memory.data.producer()
    await producer.send([{ topic: 'orders', partition: 0, key: null, value: old.codec.encode({ id: '1' }) }])
    const newer = pipeline('a', [id, note])
    expect(await readBy(newer)).toMatchObject([{ event: { id: '1' } }])
    expect(await readBy(pipeline('b', [id]))).toMatchObject([{ problems: [{ code: 'schema_unknown' }] }])
    await send(newer, { id: '2', note: 'x' })
    expect(await readBy(pipeline('b', [id]))).toMatchObject([{ event: { id: '1' } }, { event: { id: '2' } }])
  })

  test('are bounded', async () => {
    const { memory, pipeline, readBy } = await withPipelines()
    const b = pipeline('b', [id])
    const schemaOf = (n: number) => JSON.stringify({ type: 'record', name: `r${n}`, fields: [] })
    const record = (topic: string, value: Buffer) => ({ topic, partition: 0, key: null, value })
    const producer = await memory.data.producer()
    await producer.send(Array.from({ length: 10_001 }, (_, n) => record('orders.schemas', Buffer.from(schemaOf(n)))))
    await producer.send([record('orders', Buffer.from('c301000000000000000102', 'hex'))])
    await expect(readBy(b)).rejects.toMatchObject({
      code: 'registry_overrun',
      message: 'More than 10000 schemas were read, the last of them from orders.schemas.',
    })
  })
})
