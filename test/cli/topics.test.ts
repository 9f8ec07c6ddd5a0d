/** What `run` reports about topics that exist with other settings than the plan needs, on the broker in memory. */
import { describe, expect, test } from 'vitest'
import { ensureTopics, requireTopicSettings, topicSpecs } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { call } from './call.ts'

const plan = compile(cardFraud, { namespace: 'n' })
const brokers = ['kafka-1:9092', 'kafka-2:9092']
const dayMs = 86_400_000

/** The plan's topics, some with other settings. */
async function brokerWith(changes: Readonly<Record<string, Readonly<Record<string, string>>>>) {
  const broker = createMemoryBroker({ clock: systemClock })
  const specs = topicSpecs(plan, 2)
  expect(specs.map(({ topic }) => topic)).toEqual(expect.arrayContaining(Object.keys(changes)))
  await broker.admin.ensureTopics(
    specs.map((spec) => ({ ...spec, config: { ...spec.config, ...changes[spec.topic] } })),
  )
  return broker
}

const firstLine = 'Topics of this pipeline have settings with which its results could not be trusted:'
const fixLine = 'Fix them with these commands (records already there keep their times; lost ones do not come back):'
const alter = (topic: string, changes: string) =>
  `  kafka-configs --bootstrap-server kafka-1:9092,kafka-2:9092 --alter --entity-type topics --entity-name ${topic} ` +
  `--add-config ${changes}`

describe('topic settings', () => {
  test('as they are created pass, and so do longer retentions', async () => {
    const created = createMemoryBroker({ clock: systemClock })
    await ensureTopics(created.admin, plan, 2)
    await expect(requireTopicSettings(created.admin, plan, brokers)).resolves.toBeUndefined()
    const longer = await brokerWith({
      'n.transactions': { 'retention.ms': '-1' },
      'n.chargebacks': { 'retention.ms': String(38 * dayMs + 1) },
    })
    await expect(requireTopicSettings(longer.admin, plan, brokers)).resolves.toBeUndefined()
  })

  test('take records as large as Millrace writes: dead letters are the largest', async () => {
    const limits = topicSpecs(plan, 2).map(({ topic, config }) => [topic, config['max.message.bytes']])
    expect(limits).toEqual([
      ['n.transactions', undefined],
      ['n.chargebacks', undefined],
      ['n.card-fraud.terminal', '1048588'],
      ['n.card-fraud.predictions', '1048588'],
      ['n.card-fraud.rejected', '2097152'],
      ['n.card-fraud.models', undefined],
      ['n.card-fraud.schemas', undefined],
      ['n.transactions.schemas', undefined],
      ['n.chargebacks.schemas', undefined],
    ])
    const small = await brokerWith({ 'n.card-fraud.rejected': { 'max.message.bytes': '1048588' } })
    await expect(requireTopicSettings(small.admin, plan, brokers)).rejects.toMatchObject({
      message: expect.stringContaining(
        '  n.card-fraud.rejected: max.message.bytes expected at least 2097152, received 1048588',
      ),
    })
  })

  test('that do not do are all listed, with the commands that repair them', async () => {
    const broker = await brokerWith({
      'n.transactions': { 'message.timestamp.type': 'CreateTime', 'retention.ms': '604800000' },
      'n.chargebacks': { 'retention.ms': String(37 * dayMs) },
      'n.card-fraud.terminal': { 'message.timestamp.type': 'CreateTime' },
      'n.card-fraud.predictions': { 'cleanup.policy': 'compact,delete' },
      'n.card-fraud.models': { 'retention.ms': String(36_500 * dayMs), 'cleanup.policy': 'compact' },
    })
    await expect(requireTopicSettings(broker.admin, plan, brokers)).rejects.toMatchObject({
      code: 'topic_mismatch',
      message: [
        firstLine,
        '  n.transactions: message.timestamp.type expected LogAppendTime, received CreateTime',
        '  n.transactions: retention.ms expected at least 3283200000 (38d) or -1 (forever), received 604800000 (7d)',
        '  n.chargebacks: retention.ms expected at least 3283200000 (38d) or -1 (forever), received 3196800000 (37d)',
        '  n.card-fraud.terminal: message.timestamp.type expected LogAppendTime, received CreateTime',
        '  n.card-fraud.predictions: cleanup.policy expected delete, received compact,delete',
        '  n.card-fraud.models: retention.ms expected -1 (forever), received 3153600000000 (36500d)',
        '  n.card-fraud.models: cleanup.policy expected delete, received compact',
        fixLine,
        alter('n.transactions', 'message.timestamp.type=LogAppendTime,retention.ms=3283200000'),
        alter('n.chargebacks', 'retention.ms=3283200000'),
        alter('n.card-fraud.terminal', 'message.timestamp.type=LogAppendTime'),
        alter('n.card-fraud.predictions', 'cleanup.policy=delete'),
        alter('n.card-fraud.models', 'retention.ms=-1,cleanup.policy=delete'),
      ].join('\n'),
      details: {
        settings: expect.arrayContaining([
          { topic: 'n.card-fraud.models', name: 'cleanup.policy', expected: 'delete', received: 'compact' },
        ]),
      },
    })
  })

  test('that the broker does not disclose are not assumed to be right', async () => {
    const [transactions] = plan.topics
    const settings = new Map([['n.transactions', new Map([['cleanup.policy', 'delete']])]])
    const silent = { ...(await brokerWith({})).admin, topicSettings: async () => settings }
    await expect(requireTopicSettings(silent, { topics: [transactions!] }, brokers)).rejects.toMatchObject({
      message: [
        firstLine,
        '  n.transactions: message.timestamp.type expected LogAppendTime, received nothing',
        '  n.transactions: retention.ms expected at least 3283200000 (38d) or -1 (forever), received nothing',
        fixLine,
        alter('n.transactions', 'message.timestamp.type=LogAppendTime,retention.ms=3283200000'),
      ].join('\n'),
    })
  })

  test.each([[['--create-topics']], [[]]])('keep `run %s` from starting, before it connects to Redis', async (more) => {
    const broker = await brokerWith({ 'n.transactions': { 'message.timestamp.type': 'CreateTime' } })
    const { code, out, err } = await call(['run', 'pipelines/card-fraud.ts', ...more], {
      env: {
        MILLRACE_NAMESPACE: 'n',
        MILLRACE_PARTITIONS: '2',
        KAFKA_BROKERS: brokers.join(','),
        REDIS_URL: 'redis://localhost:1',
      },
      openBroker: () => broker,
    })
    expect({ code, out, err }).toEqual({
      code: 1,
      out: [],
      err: [
        `error: ${firstLine}`,
        '  n.transactions: message.timestamp.type expected LogAppendTime, received CreateTime',
        fixLine,
        alter('n.transactions', 'message.timestamp.type=LogAppendTime'),
        'Type millrace topics <pipeline> --alter, which makes these changes (partitions: of empty topics only; with --local where run has it), or start with another namespace.',
      ],
    })
  })
})
