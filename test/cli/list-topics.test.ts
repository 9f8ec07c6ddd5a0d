/** `topics` from its arguments to its output, on the broker in memory. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { topicSpecs } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { call, scratchFolder } from './call.ts'

const path = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud)
const env = { KAFKA_BROKERS: 'kafka:9092', MILLRACE_PARTITIONS: '2' }

function setUp() {
  const broker = createMemoryBroker({ clock: systemClock })
  const kept: Broker = { ...broker, close: async () => undefined }
  const topics = (...more: string[]) => call(['topics', path, ...more], { env, openBroker: () => kept })
  return { broker, topics }
}

describe('topics', () => {
  test('that are missing are listed, created on demand, and well afterwards', async () => {
    const { broker, topics } = setUp()
    const before = await topics()
    expect(before.code).toBe(1)
    expect(before.out).toEqual([
      '         topic                   role         partitions  retention    timestamps  cleanup  offsets',
      'MISSING  transactions            raw          - / 2       - / 38d',
      'MISSING  chargebacks             raw          - / 2       - / 38d',
      'MISSING  card-fraud.terminal     repartition  - / 2       - / 38d',
      'MISSING  card-fraud.predictions  predictions  - / 2       - / 90d',
      'MISSING  card-fraud.rejected     rejected     - / 2       - / 90d',
      'MISSING  card-fraud.models       models       - / 1       - / forever',
      'MISSING  card-fraud.schemas      schemas      - / 1       - / forever',
      'MISSING  transactions.schemas    raw schemas  - / 1       - / forever',
      'MISSING  chargebacks.schemas     raw schemas  - / 1       - / forever',
      ...plan.topics.flatMap(({ topic }) => [`${topic}: it does not exist.`, `  millrace topics ${path} --create`]),
      '0 of 9 topics are as the pipeline needs them.',
    ])
    const figures = join(await scratchFolder(), 'topics.json')
    const created = await topics('--create', '--json', figures)
    expect(created.code).toBe(0)
    expect(created.out.slice(-10)).toEqual([
      ...plan.topics.map(({ topic }) => `created ${topic}`),
      '9 of 9 topics are as the pipeline needs them.',
    ])
    const read = JSON.parse(await readFile(figures, 'utf8')) as { topics: object[]; created: string[] }
    expect(read.created).toEqual(plan.topics.map(({ topic }) => topic))
    expect(read.topics[5]).toEqual({
      topic: 'card-fraud.models',
      role: 'models',
      exists: true,
      partitions: { found: 1, needed: 1 },
      retentionMs: { found: -1, needed: -1 },
      timestampType: 'LogAppendTime',
      cleanupPolicy: 'delete',
      offsets: [{ partition: 0, start: 0, end: 0 }],
      problems: [],
    })
    await (await broker.data.producer()).send([
      { topic: 'transactions', partition: 1, key: null, value: Buffer.from('x') },
    ])
    const after = await topics()
    expect([after.code, after.out[1]]).toEqual([
      0,
      'ok  transactions            raw          2 / 2       38d / 38d          LogAppendTime  delete   1',
    ])
    expect((await topics('--create')).out.some((line) => line.startsWith('created'))).toBe(false)
  })

  test('that are yet to be created get the partitions of those that exist', async () => {
    const { broker, topics } = setUp()
    const specs = topicSpecs(plan, 12)
    await broker.admin.ensureTopics(specs.slice(0, 1))
    expect((await topics('--create')).code).toBe(0)
    const counts = await broker.data.partitionCounts(plan.topics.map(({ topic }) => topic))
    expect([...counts.values()]).toEqual([12, 12, 12, 12, 12, 1, 1, 1, 1])
  })

  test('with other settings are reported with the command that repairs them', async () => {
    const { broker, topics } = setUp()
    const specs = topicSpecs(plan, 2)
    const wrong = { 'message.timestamp.type': 'CreateTime', 'retention.ms': '604800000' }
    await broker.admin.ensureTopics(
      specs.map((spec, i) => (i === 1 ? { ...spec, config: { ...spec.config, ...wrong } } : spec)),
    )
    const { code, out } = await topics()
    expect(code).toBe(1)
    expect(out[2]).toBe(
      'WRONG  chargebacks             raw          2 / 2       7d / 38d           CreateTime     delete   0',
    )
    expect(out.slice(-4)).toEqual([
      'chargebacks: message.timestamp.type expected LogAppendTime, received CreateTime; ' +
        'retention.ms expected at least 3283200000 (38d) or -1 (forever), received 604800000 (7d).',
      '  kafka-configs --bootstrap-server kafka:9092 --alter --entity-type topics --entity-name chargebacks ' +
        '--add-config message.timestamp.type=LogAppendTime,retention.ms=3283200000',
      `millrace topics ${path} --alter makes this change.`,
      '8 of 9 topics are as the pipeline needs them.',
    ])
  })

  test('--alter makes the changes that are named, and leaves what is not safe', async () => {
    const { broker, topics } = setUp()
    const counts: Record<string, number> = { transactions: 4, chargebacks: 2, 'card-fraud.models': 3 }
    await broker.admin.ensureTopics(
      topicSpecs(plan, 4).map((spec) => ({
        ...spec,
        partitions: counts[spec.topic] ?? spec.partitions,
        config: spec.topic === 'card-fraud.rejected' ? { ...spec.config, 'retention.ms': '1' } : spec.config,
      })),
    )
    const before = await topics()
    expect(before.out.at(-2)).toBe(`millrace topics ${path} --alter makes 2 of these changes.`)
    const figures = join(await scratchFolder(), 'topics.json')
    const { code, out } = await topics('--alter', '--json', figures)
    const changed = ['chargebacks: 4 partitions', `card-fraud.rejected: retention.ms=${90 * 86_400_000}`]
    expect(out.filter((line) => line.startsWith('changed'))).toEqual(changed.map((change) => `changed ${change}`))
    expect(JSON.parse(await readFile(figures, 'utf8')).altered).toEqual(changed)
    // Nothing takes partitions away.
    expect([code, out.slice(-3)]).toEqual([
      1,
      [
        'card-fraud.models: it has 3 partitions, expected 1.',
        `  delete it and type millrace topics ${path} --create, or set MILLRACE_NAMESPACE to a new name`,
        '8 of 9 topics are as the pipeline needs them.',
      ],
    ])
    expect((await topics('--alter')).out.some((line) => line.startsWith('changed'))).toBe(false)
  })

  test('whose partition counts differ where one task reads both are reported', async () => {
    const { broker, topics } = setUp()
    const counts: Record<string, number> = {
      transactions: 4,
      chargebacks: 2,
      'card-fraud.models': 3,
      'card-fraud.rejected': 1,
      'card-fraud.schemas': 1,
      'transactions.schemas': 1,
      'chargebacks.schemas': 1,
    }
    await broker.admin.ensureTopics(
      topicSpecs(plan, 4).map((spec) => ({ ...spec, partitions: counts[spec.topic] ?? 4 })),
    )
    const wrong = async () => (await topics()).out.filter((line) => /^card|^charge|^ {2}(?:kafka|delete)/.test(line))
    expect(await wrong()).toEqual([
      'chargebacks: it has 2 partitions, expected 4 as transactions has, since the tasks of customer read both, partition by partition.',
      '  kafka-topics --bootstrap-server kafka:9092 --alter --topic chargebacks --partitions 4',
      'card-fraud.models: it has 3 partitions, expected 1.',
      `  delete it and type millrace topics ${path} --create, or set MILLRACE_NAMESPACE to a new name`,
    ])
    await (await broker.data.producer()).send([
      { topic: 'chargebacks', partition: 0, key: null, value: Buffer.from('x') },
    ])
    // Its keys would move.
    expect((await wrong())[1]).toBe(
      `  delete it and type millrace topics ${path} --create, or set MILLRACE_NAMESPACE to a new name`,
    )
  })
})
