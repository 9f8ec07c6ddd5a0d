/**
 * Dead letters on real servers: events in any partition and records as large as the broker takes go in; what is rejected is listed,
 * repaired and requeued, and every event is scored once, with the vector of the replay.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, inject, onTestFinished, test } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { DeadLetter, Prediction } from '../../schemas/wire/records.ts'
import { predictedVectors, replayed, replayedVectors, type StreamEvent } from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { call } from '../cli/call.ts'
import { unique } from '../conformance/broker.ts'
import { type Command, ownFolder, startCommand } from '../support/command.ts'
import { ordersPipeline } from './fixtures/orders.ts'

const partitions = 2
const [broken, fixed] = ['broken', 'repaired'].map((state) => `test/integration/fixtures/orders-${state}.ts`) as [
  string,
  string,
]
const firstMs = Date.now() - 3_600_000

/** A second apart, in random partitions; the last but one has the total that the broken function throws for. */
function someOrders(): StreamEvent[] {
  const random = createRandom(1)
  return Array.from({ length: 200 }, (_, i) => {
    const total = i === 198 ? 13 : random.below(10)
    const [userId, shopId] = [`user${random.below(9)}`, `shop${random.below(4)}`]
    const values = { orderId: `o${i}`, userId, shopId, total, at: firstMs + 1_000 * i }
    return { stream: 'orders', values, partition: random.below(partitions) }
  })
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const began = Date.now(); !holds(); await sleep(20)) {
    if (Date.now() - began > 60_000) expect.fail(`waited in vain until ${what}`)
  }
}

async function stopped(command: Command): Promise<void> {
  command.child.kill('SIGTERM')
  expect(await command.exitCode, command.output()).toBe(0)
}

test('rejected events can be repaired and requeued, regardless of size, and are scored once', async () => {
  const namespace = unique('rejected')
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_PARTITIONS: String(partitions),
    MILLRACE_HTTP_PORT: '0',
  }
  const run = async (...args: string[]) => {
    const command = startCommand(['run', ...args], environment)
    await command.printed('Features, health and metrics: http')
    return command
  }
  const rejected = (...args: string[]) => call(['rejected', ...args], { env: environment })
  const first = await run(broken, '--create-topics')

  const plan = compile(ordersPipeline(true), { namespace })
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: namespace })
  onTestFinished(() => broker.close())
  const predictions: Prediction[] = []
  const deadLetters: DeadLetter[] = []
  const watched = await watchTopics({
    broker,
    plan,
    clock: systemClock,
    from: 'start',
    onPrediction: (prediction) => void predictions.push(prediction),
    onRejection: (deadLetter) => void deadLetters.push(deadLetter),
  })
  onTestFinished(() => watched.close())

  const { topic, codec } = plan.scored
  const orders = someOrders()
  const spoilt = orders.at(-1)!
  const producer = await broker.data.producer()
  for (const { values, partition } of orders.slice(0, -1)) {
    await producer.send([{ topic, partition: partition!, key: null, value: codec.encode(values) }])
  }
  // As large as the broker takes: by its value, by a key that is no UTF-8 and by headers.
  const largest = Buffer.alloc(1_048_400, '{')
  const bad = Buffer.from(JSON.stringify({ ...spoilt.values, total: 'much' }))
  await producer.send([{ topic, partition: 0, key: null, value: largest }])
  await producer.send([{ topic, partition: 1, key: Buffer.alloc(1_000_000, 0xff), value: Buffer.from('x') }])
  await producer.send([
    { topic, partition: 1, key: null, value: bad, headers: { trace: Buffer.from('t1'), large: Buffer.alloc(900_000) } },
  ])
  await until('all are processed', () => predictions.length === 198 && deadLetters.length === 4)
  await stopped(first)

  const lengths = deadLetters.map(({ keyBytes, valueBytes, stage }) => `${stage} ${keyBytes} ${valueBytes}`).sort()
  const ofShop = deadLetters.find(({ stage }) => stage === 'shop')!
  expect(lengths).toEqual(
    [`rekey null ${bad.length}`, 'rekey null 1048400', 'rekey 1000000 1', `shop 5 ${ofShop.valueBytes}`].sort(),
  )
  expect(deadLetters.find(({ valueBytes }) => valueBytes === 1_048_400)!.value!.equals(largest)).toBe(true)

  const listed = await rejected('list', broken, '--json')
  const rows = listed.out.map(
    (line) => JSON.parse(line) as { location: string; stage: string; problems: Array<{ code: string }> },
  )
  const locationOf = (code: string) => rows.find(({ problems }) => problems[0]!.code === code)!.location
  const badLocation = locationOf('type')
  expect((await rejected('show', broken, badLocation)).out.join('\n')).toContain('header trace: "t1"')
  const repaired = join(ownFolder(), 'repaired.json')
  await writeFile(repaired, JSON.stringify(spoilt.values))

  const second = await run(fixed)
  const back = await rejected('replay', fixed, badLocation, locationOf('function_threw'))
  expect(back.out.at(-1)).toBe('1 requeued, 1 rejected: 1 type.')
  expect(await rejected('replay', fixed, badLocation, '--value', repaired)).toMatchObject({ code: 0, err: [] })
  await until('both are scored', () => predictions.length === 200)
  // Again, and all at once: duplicates, and what is still no event.
  await rejected('replay', fixed, badLocation, '--value', repaired)
  expect((await rejected('replay', fixed, '--all')).out.at(-1)).toBe('1 requeued, 3 rejected: 2 not_json, 1 type.')
  await producer.send([{ topic, partition: 0, key: null, value: Buffer.from('the last one') }])
  await until('what was sent last has its outcome', () => deadLetters.length === 5)
  await sleep(500)
  await stopped(second)
  expect(predictedVectors(predictions)).toEqual(replayedVectors(replayed(plan, partitions, orders)))
})
