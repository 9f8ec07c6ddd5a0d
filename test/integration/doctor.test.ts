/** `millrace doctor` and `topics` on a real Kafka and Redis: a pipeline at work, and what is wrong where it really is. */
import { Redis } from 'ioredis'
import { Kafka, logLevel } from 'kafkajs'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { createRedisStore } from '../../feature-store/redis/store.ts'
import { createStepWrites } from '../../feature-store/step-writes.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { call } from '../cli/call.ts'
import { unique } from '../conformance/broker.ts'
import { startCommand } from '../support/command.ts'

const definition = 'pipelines/card-fraud.ts'
const kafkaBrokers = inject('kafkaBrokers')
const redisUrl = inject('redisUrl')
const rebuild = `millrace run ${definition} --rebuild`

function setUp() {
  const namespace = unique('doctor')
  const environment = {
    KAFKA_BROKERS: kafkaBrokers,
    REDIS_URL: redisUrl,
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_PARTITIONS: '2',
    MILLRACE_HTTP_PORT: '0',
  }
  async function doctor(more: Readonly<Record<string, string>> = {}, ...args: string[]) {
    const { code, out } = await call(['doctor', definition, ...args], { env: { ...environment, ...more } })
    const lines = (name: string) => out.filter((line) => line.slice(6).startsWith(`${name}:`))
    return { code, out, lines }
  }
  const topics = (...args: string[]) => call(['topics', definition, ...args], { env: environment })
  return { namespace, environment, doctor, topics }
}

/** What two hours of the benchmark are; `produce` ends before anything is read. */
const source = ['--source', 'handbook', '--until', '2018-04-01T02:00:00Z']

test('a pipeline from before its topics exist until it has stopped', async () => {
  const { namespace, environment, doctor, topics } = setUp()
  expect((await topics()).code).toBe(1)
  expect((await doctor()).lines('topics')[0]).toBe(
    `FAIL  topics: ${namespace}.transactions: it does not exist. Type: millrace topics ${definition} --create`,
  )
  const created = await topics('--create')
  expect(created.code, created.out.join('\n')).toBe(0)

  expect((await call(['produce', definition, ...source], { env: environment })).code).toBe(0)
  const waiting = await doctor()
  expect(waiting.lines('lag customer')[0]).toMatch(
    /^warn {2}lag customer: \d+ unread in 2 partitions \([\d: ,]+\), the oldest for \d+ s\. Start a process: millrace run /,
  )
  expect(waiting.lines('group')).toEqual([
    `warn  group: group ${namespace}.card-fraud has no members: no event is processed. Start a process: millrace run.`,
  ])

  const run = startCommand(['run', definition], environment)
  await run.printed('Features, health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  let atWork = await doctor({}, '--url', url)
  for (let tries = 0; tries < 100 && !atWork.lines('lag customer')[0]?.includes('nothing unread'); tries++) {
    atWork = await doctor({}, '--url', url)
  }
  expect(atWork.out.filter((line) => line.startsWith('FAIL'))).toEqual([])
  expect(atWork.code).toBe(0)
  expect(atWork.lines('group')[0]).toMatch(
    new RegExp(
      `^ok    group: 1 process in ${namespace}\\.card-fraud: worker-1 on \\S+ has customer 0 1, terminal 0 1\\.$`,
    ),
  )
  expect(atWork.lines('process')[0]).toMatch(/^ok {4}process: ready at http\S+ with 4 tasks: /)
  expect(atWork.lines('topics')).toEqual(['ok    topics: all 9 exist as the pipeline needs them.'])
  expect(atWork.lines('state customer')).toEqual([
    'ok    state customer: 2 of 2 partitions hold state of this definition, cluster and partition count.',
  ])
  run.child.kill('SIGTERM')
  expect(await run.exitCode, run.output()).toBe(0)
  expect((await doctor()).lines('position customer')).toEqual([
    "ok    position customer: partitions 0, 1 equal to Kafka's committed offsets.",
  ])

  const admin = new Kafka({ brokers: kafkaBrokers.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  onTestFinished(() => admin.disconnect())
  await admin.createPartitions({
    topicPartitions: ['transactions', 'chargebacks'].map((name) => ({ topic: `${namespace}.${name}`, count: 3 })),
  })
  const grown = await doctor()
  expect(grown.code).toBe(1)
  expect(grown.lines('state customer')).toEqual([
    'FAIL  state customer: it was made with 2 partitions, the topics have 3: keys are in other partitions now. ' +
      `Set MILLRACE_NAMESPACE to a new name, or rebuild it from what Kafka still holds: ${rebuild}`,
  ])
})

describe('what is wrong', () => {
  test('state of another cluster, recognised before a start', async () => {
    const { namespace, doctor, topics } = setUp()
    expect((await topics('--create')).code).toBe(0)
    const store = await createRedisStore({ url: redisUrl, pipeline: 'card-fraud', namespace: `${namespace}.` })
    onTestFinished(() => store.close())
    const identity = { clusterId: 'elsewhere', stateFingerprint: 'f00d', partitions: 2 }
    const task = await store.claim('terminal', 1, 'somebody', identity)
    await task.apply({ from: null, to: 'somewhere', writes: createStepWrites() })
    const { code, lines } = await doctor()
    expect(code).toBe(1)
    const broker = createKafkaBroker({ brokers: kafkaBrokers.split(','), clientId: namespace })
    onTestFinished(() => broker.close())
    expect(lines('state terminal')).toEqual([
      `FAIL  state terminal: it belongs to Kafka cluster elsewhere, this one is ${await broker.admin.clusterId()}: ` +
        'the offsets of one mean nothing in the other. Set KAFKA_BROKERS to the cluster it belongs to, ' +
        `or MILLRACE_NAMESPACE to a new name, or rebuild it: ${rebuild}`,
    ])
    expect(lines('state customer')).toEqual(['ok    state customer: Redis holds nothing yet.'])
    // Nothing was taken over.
    expect(await store.inspect('terminal', 1)).toEqual({ owner: 'somebody', position: 'somewhere', identity })
  })

  test('a Redis that evicts', async () => {
    const { doctor } = setUp()
    const redis = new Redis(redisUrl)
    onTestFinished(async () => {
      await redis.config('SET', 'maxmemory-policy', 'noeviction')
      await redis.quit()
    })
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
    const { code, lines } = await doctor()
    expect([code, ...lines('redis policy')]).toEqual([
      1,
      'FAIL  redis policy: maxmemory-policy is allkeys-lru, expected noeviction: features could be evicted unnoticed. ' +
        'Type: redis-cli CONFIG SET maxmemory-policy noeviction (and set it in redis.conf).',
    ])
    expect(lines('redis')[0]).toMatch(/^(?:ok {2}|warn) {2}redis: Redis|^(?:ok {2}|warn) {2}redis: Valkey/)
  })

  test('a Kafka and a Redis that do not answer', async () => {
    const { doctor } = setUp()
    const { code, lines } = await doctor({ KAFKA_BROKERS: '127.0.0.1:1', REDIS_URL: 'redis://127.0.0.1:1' })
    expect(code).toBe(1)
    expect(lines('kafka')).toEqual([
      'FAIL  kafka: Kafka at 127.0.0.1:1 did not answer: Connection error: connect ECONNREFUSED 127.0.0.1:1. ' +
        'Check KAFKA_BROKERS and that the brokers are running.',
    ])
    expect(lines('redis')).toEqual([
      'FAIL  redis: No answer to connect from Redis at 127.0.0.1:1 (limit 5000 ms): connect ECONNREFUSED 127.0.0.1:1. ' +
        'Check REDIS_URL and that Redis is running.',
    ])
    expect(lines('lag terminal')).toEqual(['warn  lag terminal: not checked: it needs Kafka. Fix that first.'])
  })
})
