/** What the doctor examines: the parts of a pipeline, each opened once and only when an examination needs it. Made by `doctor`. */
import type { RedisServer } from '../../feature-store/redis/server.ts'
import type { FeatureStore } from '../../feature-store/store.ts'
import type { Broker, BrokerData } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Config } from '../../runtime/config/config.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import { createSchemaRegistry } from '../../runtime/schema-registry.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { sharedNames } from '../context.ts'
import { loadPlan } from '../load-plan.ts'
import { reportTopics, type TopicReport } from '../topics/report.ts'
import { createPart, type Part } from './check.ts'

/** The store without the operations that take ownership. */
export type ReadOnlyStore = Pick<FeatureStore, 'inspect' | 'ping' | 'close'> & { server(): Promise<RedisServer> }

export interface SubjectOptions {
  /** Path of the definition file. */
  readonly definition: string
  readonly config: Config
  readonly clock: Clock
  readonly openBroker: (config: Config) => Broker
  /** At the address that the configuration names. */
  readonly openStore: (
    config: Config & { readonly redisUrl: string },
    plan: Plan,
    keyPrefix: string,
  ) => Promise<ReadOnlyStore>
}

export interface Subject {
  readonly definition: string
  readonly config: Config
  readonly clock: Clock
  readonly plan: Part<Plan>
  readonly kafka: Part<{ readonly broker: Broker; readonly clusterId: string }>
  readonly topics: Part<readonly TopicReport[]>
  readonly redis: Part<{ readonly store: ReadOnlyStore; readonly server: RedisServer; readonly pingMs: number }>
  /** Kafka's data, with the schemas that records were written with; the records of earlier definitions are read with it. */
  readonly records: () => Promise<BrokerData>
  close(): Promise<void>
}

export function createSubject(options: SubjectOptions): Subject {
  const { definition, config, clock } = options
  const opened: Array<{ close(): Promise<void> }> = []

  const nothing = async () => undefined
  const plan = createPart('a definition that compiles', nothing, () => loadPlan(definition, config))

  const kafka = createPart('Kafka', nothing, async () => {
    // Failures are reported by a check, not by the log.
    const broker = options.openBroker({ ...config, logLevel: 'silent' })
    opened.push(broker)
    return { broker, clusterId: await broker.admin.clusterId() }
  })

  const topics = createPart(
    'the topics',
    async () => ({ plan: await plan.needed(), broker: (await kafka.needed()).broker }),
    (needed) => reportTopics({ ...needed, partitions: config.partitions, brokers: config.kafkaBrokers, definition }),
  )

  const redis = createPart('Redis', plan.needed, async (ready) => {
    const { redisUrl } = config
    if (redisUrl === null) {
      throw new PipelineError(
        'config_invalid',
        'REDIS_URL is not set: expected redis://host:port, such as REDIS_URL=redis://localhost:6379.',
      )
    }
    const store = await options.openStore({ ...config, redisUrl }, ready, sharedNames(config, ready).keyPrefix)
    opened.push(store)
    const server = await store.server()
    const beganMs = clock.elapsedMs()
    await store.ping()
    return { store, server, pingMs: clock.elapsedMs() - beganMs }
  })

  async function records(): Promise<BrokerData> {
    const { schemas } = await plan.needed()
    const { broker } = await kafka.needed()
    const registry = config.schemaRegistryUrl === null ? null : createSchemaRegistry(config.schemaRegistryUrl)
    // Closed with the broker that it reads through.
    return createSchemaAwareBroker(broker, { schemas, registry }).data
  }

  return {
    definition,
    config,
    clock,
    plan,
    kafka,
    topics,
    redis,
    records,
    async close() {
      // What does not close well has been spoken of already: it did not answer.
      await Promise.allSettled(opened.map((part) => part.close()))
    },
  }
}
