/** The consumers of docs/consuming.md as they stand there, beside a running pipeline on a real Kafka and Redis. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Kafka, logLevel, Partitioners } from 'kafkajs'
import { expect, onTestFinished, test } from 'vitest'
import { findJava, kafkaJars } from '../../runtime/servers/kafka-jars.ts'
import { codeBlocks } from '../support/code-blocks.ts'
import { pythonWith } from '../support/other-clients.ts'
import { startRegistry } from '../support/registry-server.ts'
import { type RunningPipeline, runPipeline } from '../support/running-pipeline.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const blocks = codeBlocks(readFileSync(join(root, 'docs/consuming.md'), 'utf8'))
const [typescript, python, framed, java] = [
  ...blocks.filter(({ language }) => language === 'ts'),
  ...blocks.filter(({ language }) => language === 'python'),
  ...blocks.filter(({ language }) => language === 'java'),
].map(({ text }) => text)

const pythonFile = pythonWith('confluent_kafka')
const pythonOfRegistry = pythonWith('confluent_kafka.schema_registry.avro')
const javaFile = (await findJava(process.env)).file
// A runtime without a compiler runs Kafka, but no source file.
const hasCompiler = String(spawnSync(javaFile, ['--list-modules']).stdout).includes('jdk.compiler')
if (pythonFile === null) console.log('LEFT OUT: the Python consumer of docs/consuming.md: no confluent-kafka.')
if (pythonOfRegistry === null)
  console.log('LEFT OUT: the Python consumer with a registry: no confluent-kafka[avro,schemaregistry].')
if (!hasCompiler) console.log('LEFT OUT: the Java consumer of docs/consuming.md: this Java has no compiler.')

interface Printed {
  readonly id: string
  readonly score: number | null
  readonly total: number
}

/** Runs until the test ends. */
function startConsumer(file: string, args: readonly string[]) {
  const child = spawn(file, args, { cwd: root })
  onTestFinished(() => void child.kill('SIGKILL'))
  let [output, errors] = ['', '']
  child.stdout.on('data', (piece) => (output += String(piece)))
  child.stderr.on('data', (piece) => (errors += String(piece)))
  const printed = (): Printed[] =>
    output
      .split('\n')
      .filter((line) => line.startsWith('{"id"') || line.startsWith('{"id":'))
      .map((line) => JSON.parse(line) as Printed)
  async function untilPrinted(ids: readonly string[]): Promise<Printed[]> {
    for (let tries = 0; tries < 600; tries++) {
      const known = new Set(printed().map(({ id }) => id))
      if (ids.every((id) => known.has(id))) return printed()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    throw new Error(`${file} did not print all within a minute: ${output.slice(-2_000)} ${errors.slice(-2_000)}`)
  }
  return { untilPrinted }
}

function ordersOf(round: string) {
  const totals = [0, 0.07, 12.5, 89999999999999.9, 123456789.01, 0.3]
  return totals.map((total, i) => ({
    orderId: `${round}${i}`,
    userId: `user${i}`,
    shopId: 's',
    total,
    at: 1_767_225_600_000 + i,
  }))
}

async function post({ url }: RunningPipeline, orders: readonly object[]): Promise<void> {
  const reply = await fetch(`${url}/streams/orders/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(orders),
  })
  expect([reply.status, await reply.text()]).toEqual([200, expect.any(String)])
}

/** What a consumer must not count: a transaction that is aborted, and a prediction that is sent again. */
async function disturb({ environment, plan }: RunningPipeline, repeated: object): Promise<void> {
  const kafka = new Kafka({ brokers: environment.KAFKA_BROKERS!.split(','), logLevel: logLevel.NOTHING })
  const { topic } = plan.predictions
  const createPartitioner = Partitioners.DefaultPartitioner
  const aborting = kafka.producer({
    transactionalId: `ghost-${topic}`,
    maxInFlightRequests: 1,
    idempotent: true,
    createPartitioner,
  })
  await aborting.connect()
  const transaction = await aborting.transaction()
  const value = JSON.stringify({ ...repeated, id: 'ghost' })
  for (const partition of [0, 1]) await transaction.send({ topic, messages: [{ partition, value }] })
  await transaction.abort()
  await aborting.disconnect()
  const again = kafka.producer({ createPartitioner })
  await again.connect()
  await again.send({ topic, messages: [0, 1].map((partition) => ({ partition, value: JSON.stringify(repeated) })) })
  await again.disconnect()
}

test('consumers in TypeScript, Python and Java read JSON: committed predictions, each once', {
  timeout: 240_000,
}, async () => {
  const settings = { MILLRACE_PARTITIONS: '2' }
  const pipeline = await runPipeline('consuming-json', {
    definition: 'test/integration/fixtures/orders-json.ts',
    settings,
  })
  const folder = join(root, '.millrace', `consuming-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'consumer.ts'), typescript!)
  writeFileSync(join(folder, 'Predictions.java'), java!)
  const to = [pipeline.environment.KAFKA_BROKERS!, pipeline.plan.predictions.topic]
  const jars = join(await kafkaJars(join(root, '.millrace/cache'), process.env, () => undefined), 'jars', '*')
  const consumers = [
    startConsumer(process.execPath, ['--import', 'tsx', join(folder, 'consumer.ts'), ...to]),
    ...(pythonFile === null ? [] : [startConsumer(pythonFile, ['-c', python!, ...to])]),
    ...(hasCompiler ? [startConsumer(javaFile, ['-cp', jars, join(folder, 'Predictions.java'), ...to])] : []),
  ]

  const [first, second] = [ordersOf('a'), ordersOf('b')]
  await post(pipeline, first)
  const ids = first.map(({ orderId }) => orderId)
  for (const consumer of consumers) await consumer.untilPrinted(ids)
  const features = { total: 0, userCount1d: 1, shopCount1d: 1, shopReturns1d: 0 }
  await disturb(pipeline, { id: 'a0', score: null, features })
  await post(pipeline, second)
  for (const consumer of consumers) {
    const printed = await consumer.untilPrinted(second.map(({ orderId }) => orderId))
    const expected = [...first, ...second].map(({ orderId: id, total }) => ({ id, score: null, total }))
    expect(printed.sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(expected)
  }
})

test.skipIf(pythonOfRegistry === null)(
  'a consumer of the registry reads predictions that carry its id',
  { timeout: 240_000 },
  async () => {
    const registry = await startRegistry()
    const settings = { MILLRACE_PARTITIONS: '2', SCHEMA_REGISTRY_URL: registry.url }
    const definition = 'test/integration/fixtures/orders-registry.ts'
    const pipeline = await runPipeline('consuming-registry', { definition, settings })
    const { topic } = pipeline.plan.predictions
    expect(registry.asked).toContain(`POST /subjects/${topic}-value/versions`)
    const to = [pipeline.environment.KAFKA_BROKERS!, topic, registry.url]
    const consumer = startConsumer(pythonOfRegistry!, ['-c', framed!, ...to])
    const orders = ordersOf('r')
    await post(pipeline, orders)
    const printed = await consumer.untilPrinted(orders.map(({ orderId }) => orderId))
    const expected = orders.map(({ orderId: id, total }) => ({ id, score: null, total }))
    expect(printed.sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual(expected)
  },
)
