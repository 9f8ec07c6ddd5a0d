/**
 * Servers that `start` or `run --local` has started in the same folder stand in for those that the environment does not name:
 * settings come in, those with their addresses go out. Called by `program.ts` for every command that starts none, and by `doctor`.
 */
import type { Config } from '../runtime/config/config.ts'
import { findRunningServers } from '../runtime/servers/running-servers.ts'

export interface BesideServers {
  readonly config: Config
  /** Says where the servers come from; null where all are those of the environment. */
  readonly note: string | null
}

export function besideRunningServers(config: Config): BesideServers {
  if (config.kafkaBrokers.length > 0 && config.redisUrl !== null) return { config, note: null }
  const running = findRunningServers(config.folder)
  if (running === null) return { config, note: null }
  const kafka = config.kafkaBrokers.length === 0 ? running.kafkaBrokers : undefined
  const redis = config.redisUrl === null ? running.redisUrl : undefined
  const named = [...(kafka ? [`Kafka at ${kafka}`] : []), ...(redis ? [`Redis at ${redis}`] : [])]
  if (named.length === 0) return { config, note: null }
  return {
    config: {
      ...config,
      ...(kafka ? { kafkaBrokers: kafka.split(',') } : {}),
      ...(redis ? { redisUrl: redis } : {}),
    },
    note: `${named.join(' and ')}: of the process that has started them in ${config.folder}.`,
  }
}
