/** Versions of a definition that follow each other over the same topics and state, and events of a schema registry. */
import avro from 'avsc'
import { expect, test } from 'vitest'
import { createMemorySchemaRegistry } from '../../runtime/memory/schema-registry.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import type { SchemaRegistry } from '../../runtime/schema-registry.ts'
import { text } from '../../schemas/definition/definition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { avroType } from '../../schemas/wire/avro-types.ts'
import {
  createPipelineRunner,
  predictedVectors,
  type ReadPrediction,
  replayed,
  replayedVectors,
} from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

const partitions = 2
const startMs = clicksStartMs + 3_600_000
const clicks = Array.from({ length: 40 }, (_, i) => click(`c${i}`, `user${i % 5}`, i * 7, { page: `page${i % 3}` }))
const newer = () => compile(clicksPipeline({ moreFields: { device: text({ optional: true }) } }))

const idsOf = (predictions: readonly ReadPrediction[]) => predictions.map(({ id }) => id).sort()

test('old and new events of a topic are read by old and new processes, and so is what they sent each other', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  const [clickStream] = newer().streams
  /** As a producer of the newer version, which announces its schemas first. */
  async function sendNewer(events: typeof clicks): Promise<void> {
    const plan = newer()
    const producer = await createSchemaAwareBroker(runner.broker, {
      schemas: plan.schemas,
      registry: null,
    }).data.producer()
    const records = events.map(({ values }) => {
      const key = Buffer.from(values.user as string)
      const value = plan.streams[0]!.codec.encode({ ...values, device: 'phone' })
      return { topic: clickStream!.topic, partition: partitionOf(key, partitions), key, value }
    })
    await producer.send(records)
  }
  const old = runner.start()
  await runner.sendAll(clicks.slice(0, 10))
  await old.until('the old process has scored old events', () => old.metrics.totals.predictions === 10)
  await sendNewer(clicks.slice(10, 20))
  await old.until('the old process has scored new events', () => old.metrics.totals.predictions === 20)
  await old.stop()

  const plan = newer()
  const young = runner.start({ plan })
  await runner.sendAll(clicks.slice(20, 30))
  await sendNewer(clicks.slice(30))
  await young.until('the new process has scored both', () => young.metrics.totals.predictions === 20)
  await young.stop()
  const facts = await runner.facts()
  expect(idsOf(await runner.predictions())).toEqual(clicks.map(({ values }) => values.clickId).sort())
  expect(predictedVectors(await runner.predictions())).toEqual(
    replayedVectors(replayed(runner.plan, partitions, clicks)),
  )
  expect(await runner.rejections()).toEqual([])

  // From the start: raw events of both versions, and repartition records that the old process sent.
  const again = runner.start({ plan, isRebuild: true })
  await again.until('all is folded again', () => again.state().isReady && again.metrics.totals.restored > 0)
  await again.stop()
  expect(withoutContents(plan, await runner.facts())).toEqual(withoutContents(plan, facts))
})

/** Which fields a fact's content is of depends on the definition that read it. */
function withoutContents(plan: Plan, facts: Readonly<Record<string, string>>): Record<string, string[]> {
  const rowDigits = (key: string) =>
    16 * plan.stages.find(({ entity }) => key.startsWith(entity.name))!.entity.layout.width
  const rowsOf = (key: string, digits: string) => digits.match(new RegExp(`.{${rowDigits(key)}}`, 'g'))!
  const entries = Object.entries(facts).map(([key, digits]) => {
    return [key, rowsOf(key, digits).map((row) => row.slice(0, 48) + row.slice(64))] as const
  })
  return Object.fromEntries(entries)
}

test('events of a registry wait until it answers', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  const schema = {
    type: 'record',
    name: 'com.acme.Click',
    fields: [
      ...['page', 'user', 'clickId'].map((name) => ({ name, type: 'string' })),
      { name: 'amount', type: ['null', 'int'] },
      { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    ],
  }
  const type = avro.Type.forSchema(schema as avro.Schema)
  for (const { values } of clicks) {
    const value = Buffer.concat([Buffer.from([0, 0, 0, 1, 44]), type.toBuffer(values)])
    const user = values.user as string
    await runner.sendRaw('clicks', partitionOf(Buffer.from(user), partitions), value, user)
  }
  let failuresLeft = 3
  const registry: SchemaRegistry = {
    ...createMemorySchemaRegistry(),
    async schemaOf(id) {
      if (failuresLeft-- > 0) throw new PipelineError('registry_unreachable', 'The schema registry is away.')
      return id === 300 ? avroType(schema) : null
    },
    check: async () => undefined,
  }
  const worker = runner.start({ registry })
  await worker.until('all are scored', () => worker.metrics.totals.predictions === clicks.length)
  await worker.stop()
  expect(failuresLeft).toBeLessThan(0)
  expect(worker.messages.filter((message) => message === 'The schema registry is away.').length).toBe(3)
  expect(predictedVectors(await runner.predictions())).toEqual(
    replayedVectors(replayed(runner.plan, partitions, clicks)),
  )
  expect(await runner.rejections()).toEqual([])
})
