/**
 * The environment of the bench: servers, connections to them, the generated data and a trained model. Opened by `run-bench.ts`, used by
 * every job.
 */
import { Redis } from 'ioredis'
import { openBroker } from '../cli/context.ts'
import { loadPlan } from '../cli/load-plan.ts'
import type { Shutdown } from '../cli/shutdown.ts'
import { generateHandbook, type HandbookTable } from '../pipelines/handbook.ts'
import type { Broker } from '../runtime/broker.ts'
import type { Config } from '../runtime/config/config.ts'
import { redisSecurity } from '../runtime/config/security.ts'
import { findServers } from '../runtime/servers/local-servers.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { ModelVersion } from '../schemas/wire/records.ts'
import { trainModel } from './trained-model.ts'

/** Environment variables. */
export type Env = Readonly<Record<string, string | undefined>>

export interface BenchEnvironment {
  /** With the addresses of the servers. */
  readonly config: Config
  readonly env: Env
  readonly broker: Broker
  readonly redis: Redis
  readonly table: HandbookTable
  /** Of the card-fraud pipeline, without a namespace. */
  readonly plan: Plan
  /** For the card-fraud pipeline. */
  readonly model: ModelVersion
  /** Folder for CPU profiles of the measured processes; null: none are taken. */
  readonly profileFolder: string | null
}

export const cardFraud = 'pipelines/card-fraud.ts'
export const atLeastOnce = 'bench/card-fraud-at-least-once.ts'

/** Servers that are not configured are started with the settings of production, and removed at the end. */
export async function openBenchEnvironment(
  config: Config,
  env: Env,
  options: { readonly seed: number; readonly profileFolder: string | null; readonly printLine: (line: string) => void },
  shutdown: Shutdown,
): Promise<BenchEnvironment> {
  const { printLine, seed, profileFolder } = options
  const servers = await findServers({
    kafkaBrokers: config.kafkaBrokers.join(','),
    ...(config.redisUrl === null ? {} : { redisUrl: config.redisUrl }),
    folder: config.folder,
    ephemeral: true,
    isMeasured: true,
    printLine,
  })
  shutdown.add('servers', servers.close)
  const found = { ...config, kafkaBrokers: servers.kafkaBrokers.split(','), redisUrl: servers.redisUrl }
  const broker = openBroker(found)
  shutdown.add('Kafka', broker.close)
  const redis = new Redis(servers.redisUrl, { ...redisSecurity(found), lazyConnect: true })
  shutdown.add('Redis', async () => redis.disconnect())
  await redis.connect()
  printLine(`Generating the benchmark's data with seed ${seed}, and training a model on its first days.`)
  const table = generateHandbook({ seed })
  const plan = await loadPlan(cardFraud, { namespace: '' })
  const model = await trainModel(plan, table, config.partitions)
  return { config: found, env, broker, redis, table, plan, model, profileFolder }
}
