/** What figures depend on besides the code: the machine, its servers, its load, and the revision. Called by `run-bench.ts`. */
import { cpus, loadavg, totalmem } from 'node:os'
import type { Config } from '../runtime/config/config.ts'
import { runCommand } from '../runtime/servers/command.ts'
import { serverVersions } from '../runtime/servers/versions.ts'
import type { BenchEnvironment } from './environment.ts'
import type { Machine } from './report.ts'

const gigabyte = 2 ** 30
const gitMs = 10_000

export async function describeMachine(given: Config, redis: BenchEnvironment['redis']): Promise<Machine> {
  const server = await redis.info('server')
  const field = (name: string) => new RegExp(`^${name}:(.+?)\\r?$`, 'm').exec(server)?.[1]
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / gigabyte),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    // Kafka's protocol has no request for the version of a broker.
    kafka: given.kafkaBrokers.length === 0 ? serverVersions.kafka : 'as given',
    redis: field('valkey_version')
      ? `Valkey ${field('valkey_version')}`
      : `Redis ${field('redis_version') ?? 'unknown'}`,
  }
}

/** Null outside a checkout and where git is not installed. */
export async function revision(environment: NodeJS.ProcessEnv): Promise<string | null> {
  const run = await runCommand('git', ['describe', '--always', '--dirty', '--abbrev=10'], {
    environment,
    timeoutMs: gitMs,
  })
  return run.missing || run.exitCode !== 0 ? null : run.output.trim()
}

/** The load average of the last minute. */
export function load(): number {
  return loadavg()[0]!
}
