/** `millrace run` on topics that a stock client created: rejected until they are altered. */
import { Kafka, logLevel } from 'kafkajs'
import { expect, inject, onTestFinished, test } from 'vitest'
import { requireTopicSettings, topicSpecs } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { unique } from '../conformance/broker.ts'
import { startCommand } from '../support/command.ts'

const kafkaBrokers = inject('kafkaBrokers')
const brokers = kafkaBrokers.split(',')

test('topics with other settings keep `run` from starting until they are altered as it advises', async () => {
  const namespace = unique('settings')
  const plan = compile(cardFraud, { namespace })
  const admin = new Kafka({ brokers, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  onTestFinished(() => admin.disconnect())
  const [transactions, models] = [`${namespace}.transactions`, `${namespace}.card-fraud.models`]
  const create = (topic: string, numPartitions: number, settings: Record<string, string>) =>
    admin.createTopics({
      waitForLeaders: true,
      topics: [
        { topic, numPartitions, configEntries: Object.entries(settings).map(([name, value]) => ({ name, value })) },
      ],
    })
  // The default of Kafka, spelt out: the servers of the tests may have another one.
  await create(transactions, 1, { 'message.timestamp.type': 'CreateTime' })
  await create(models, 1, { 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'compact' })

  const environment = {
    KAFKA_BROKERS: kafkaBrokers,
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_PARTITIONS: '1',
    MILLRACE_HTTP_PORT: '0',
  }
  const run = (...more: string[]) => startCommand(['run', 'pipelines/card-fraud.ts', ...more], environment)
  const refused = run('--create-topics')
  expect(await refused.exitCode, refused.output()).toBe(1)
  const alter = `  kafka-configs --bootstrap-server ${kafkaBrokers} --alter --entity-type topics --entity-name`
  // The first line says that types were not checked.
  expect(refused.output().trimEnd().split('\n').slice(1)).toEqual([
    'error: Topics of this pipeline have settings with which its results could not be trusted:',
    `  ${transactions}: message.timestamp.type expected LogAppendTime, received CreateTime`,
    `  ${transactions}: retention.ms expected at least 3283200000 (38d) or -1 (forever), received 604800000 (7d)`,
    `  ${models}: retention.ms expected -1 (forever), received 604800000 (7d)`,
    `  ${models}: cleanup.policy expected delete, received compact`,
    'Fix them with these commands (records already there keep their times; lost ones do not come back):',
    `${alter} ${transactions} --add-config message.timestamp.type=LogAppendTime,retention.ms=3283200000`,
    `${alter} ${models} --add-config retention.ms=-1,cleanup.policy=delete`,
    'Type millrace topics <pipeline> --alter, which makes these changes (partitions: of empty topics only; with --local where run has it), or start with another ' +
      'namespace.',
  ])

  const specs = new Map(topicSpecs(plan, 1).map((spec) => [spec.topic, spec]))
  await admin.alterConfigs({
    validateOnly: false,
    resources: [transactions, models].map((topic) => ({
      type: 2,
      name: topic,
      configEntries: Object.entries(specs.get(topic)!.config).map(([name, value]) => ({ name, value })),
    })),
  })
  const broker = createKafkaBroker({ brokers, clientId: namespace })
  onTestFinished(() => broker.close())
  // Those that the failed `run` created itself are among them.
  await requireTopicSettings(broker.admin, plan, brokers)
  const started = run()
  await started.printed('Features, health and metrics: http')
  started.child.kill('SIGTERM')
  expect(await started.exitCode, started.output()).toBe(0)
})
