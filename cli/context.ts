/** What a command is given beside its options, and the connection to Kafka that all but one of them open. Made by `program.ts`. */
import type { Readable } from 'node:stream'
import type { Broker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Config } from '../runtime/config/config.ts'
import { kafkaSecurity } from '../runtime/config/security.ts'
import { createKafkaBroker } from '../runtime/kafka/broker.ts'
import { createLog } from '../runtime/log.ts'
import { createSchemaAwareBroker } from '../runtime/schema-aware-broker.ts'
import { createSchemaRegistry, type SchemaRegistry } from '../runtime/schema-registry.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { Stopping } from './signals.ts'
import type { Terminal } from './terminal.ts'

export interface CommandContext {
  readonly config: Config
  /** As it was given; for the processes that a command starts. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly terminal: Terminal
  readonly clock: Clock
  /** From 0 to 1. */
  readonly random: () => number
  readonly stopping: Stopping
  readonly stdin: () => Readable
  readonly openBroker: (config: Config) => Broker
}

/** Under which names a pipeline's processes meet: the prefix of keys in Redis and the consumer group in Kafka. */
export function sharedNames(config: Pick<Config, 'namespace'>, plan: Pick<Plan, 'name'>) {
  const keyPrefix = config.namespace === '' ? '' : `${config.namespace}.`
  return { keyPrefix, group: `${keyPrefix}${plan.name}` }
}

/** Throws `config_invalid` where KAFKA_BROKERS is not set. Connects with the first call. */
export function openBroker(config: Config): Broker {
  if (config.kafkaBrokers.length === 0) {
    throw new PipelineError(
      'config_invalid',
      'KAFKA_BROKERS is not set: expected the host:port of a Kafka broker, such as KAFKA_BROKERS=localhost:9092.',
    )
  }
  const log = createLog(config.logLevel)
  return createKafkaBroker({
    brokers: config.kafkaBrokers,
    clientId: `millrace-${config.worker}`,
    ...kafkaSecurity(config),
    log: (level, message, details) => log[level](details, message),
  })
}

export interface PipelineBroker {
  readonly broker: Broker
  /** Null: none is configured. */
  readonly registry: SchemaRegistry | null
}

/** The broker through which the pipeline's topics are read and written: it knows what their records were written with. */
export function openPipelineBroker(
  plan: Pick<Plan, 'schemas'>,
  config: Config,
  { openBroker }: Pick<CommandContext, 'openBroker'>,
): PipelineBroker {
  const registry = config.schemaRegistryUrl === null ? null : createSchemaRegistry(config.schemaRegistryUrl)
  return { broker: createSchemaAwareBroker(openBroker(config), { schemas: plan.schemas, registry }), registry }
}
