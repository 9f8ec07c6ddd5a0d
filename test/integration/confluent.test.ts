/** Events of the real Confluent client, with schemas from a registry, through `millrace run` on a real Kafka and Redis. */
import { expect, inject, onTestFinished, test } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { DeadLetter, Prediction } from '../../schemas/wire/records.ts'
import { unique } from '../conformance/broker.ts'
import { startCommand } from '../support/command.ts'
import { pythonWith, run } from '../support/other-clients.ts'
import { startRegistry } from '../support/registry-server.ts'

const python = pythonWith('confluent_kafka.schema_registry.avro')
if (python === null)
  console.log('LEFT OUT: events of the Confluent client: Python has no confluent-kafka[avro,schemaregistry].')

/** Two versions of a schema of somebody else's, mixed in one topic. */
const program = `
import json, sys
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
brokers, topic, url, user = sys.argv[1:]
registry = SchemaRegistryClient({'url': url, 'basic.auth.user.info': user})
fields = [{'name': name, 'type': 'string'} for name in ('txId', 'customerId', 'terminalId')]
at = {'name': 'at', 'type': {'type': 'long', 'logicalType': 'timestamp-millis'}}
old = fields + [{'name': 'amount', 'type': 'int'}, at]
new = [{'name': 'channel', 'type': ['null', 'string']}, at] + fields + [{'name': 'amount', 'type': ['null', 'double']}]
serializers = [
    AvroSerializer(registry, json.dumps({'type': 'record', 'name': 'com.acme.Transaction', 'fields': fields}))
    for fields in (old, new)
]
producer = Producer({'bootstrap.servers': brokers, 'compression.type': 'zstd', 'partitioner': 'murmur2_random'})
for i in range(20):
    values = {'txId': f't{i}', 'customerId': f'c{i % 3}', 'terminalId': 'm', 'at': 1522540800000 + i * 60000, 'amount': i}
    if i % 2:
        values = {**values, 'channel': 'web', 'amount': None if i == 19 else i + 0.25}
    value = serializers[i % 2](values, SerializationContext(topic, MessageField.VALUE))
    producer.produce(topic, value, values['customerId'])
assert producer.flush(30) == 0
`

test.skipIf(python === null)(
  'events of the Confluent client are scored, in both versions of their schema',
  async () => {
    const namespace = unique('confluent')
    const registry = await startRegistry()
    registry.credentials = 'me:secret'
    const withUser = registry.url.replace('//', '//me:secret@')
    const environment = {
      KAFKA_BROKERS: inject('kafkaBrokers'),
      REDIS_URL: inject('redisUrl'),
      SCHEMA_REGISTRY_URL: withUser,
      MILLRACE_NAMESPACE: namespace,
      MILLRACE_PARTITIONS: '2',
      MILLRACE_HTTP_PORT: '0',
    }
    const running = startCommand(['run', 'pipelines/card-fraud.ts', '--create-topics'], environment)
    await running.printed('Features, health and metrics: http')

    const plan = compile(cardFraud, { namespace })
    const kafka = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: namespace })
    onTestFinished(() => kafka.close())
    const broker = createSchemaAwareBroker(kafka, { schemas: plan.schemas, registry: null })
    const predictions: Prediction[] = []
    const rejections: DeadLetter[] = []
    let resolveEnough: () => void = () => undefined
    const enough = new Promise<void>((resolve) => {
      resolveEnough = resolve
    })
    const came = (list: unknown[]) => (one: unknown) => {
      list.push(one)
      if (predictions.length + rejections.length >= 21) resolveEnough()
    }
    const watched = await watchTopics({
      broker,
      plan,
      clock: systemClock,
      from: 'start',
      onPrediction: came(predictions),
      onRejection: came(rejections),
    })

    await run(python!, ['-c', program, environment.KAFKA_BROKERS, plan.scored.topic, registry.url, 'me:secret'], [])
    // An id that the registry does not have.
    const producer = await kafka.data.producer()
    await producer.send([
      { topic: plan.scored.topic, partition: 0, key: null, value: Buffer.from([0, 0, 0, 3, 231, 0]) },
    ])
    await Promise.race([enough, watched.ended])
    await watched.close()

    const amounts = predictions.map(({ id, features }) => [
      id,
      features[plan.features.findIndex(({ name }) => name === 'amount')],
    ])
    const expected = Array.from({ length: 19 }, (_, i) => [`t${i}`, i % 2 ? i + 0.25 : i])
    expect(Object.fromEntries(amounts)).toEqual(Object.fromEntries(expected))
    const problems = Object.fromEntries(rejections.map(({ problems: [first] }) => [first!.code, first]))
    expect(problems).toMatchObject({ missing: { path: '/amount' }, schema_unknown: { received: 'schema id 999' } })
    running.child.kill('SIGTERM')
    expect(await running.exitCode, running.output()).toBe(0)
  },
)
