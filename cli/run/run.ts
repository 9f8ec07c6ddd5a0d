/** `millrace run`: the production process of one pipeline, until it is stopped. */
import { createRedisStore } from '../../feature-store/redis/store.ts'
import { redisSecurity } from '../../runtime/config/security.ts'
import { createLog } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { checkTypes } from '../check-types.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { loadPlan } from '../load-plan.ts'
import { createShutdown, type Shutdown } from '../shutdown.ts'
import { startLocalServers } from '../start-local-servers.ts'
import { unusedPartitions } from '../topics/unused-partitions.ts'
import { untilStopped } from '../until-stopped.ts'
import { type LiveProcess, startLiveProcess } from './live-process.ts'
import { createProgressLines, progressEveryMs } from './progress-lines.ts'

export interface RunCommandOptions {
  readonly createTopics?: boolean
  readonly rebuild?: boolean
  /** Starts servers on this machine for what the environment does not name. */
  readonly local?: boolean
}

export async function runCommand(
  definition: string,
  options: RunCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal, clock, random } = context
  await checkTypes(definition, context)
  const plan = await loadPlan(definition, context.config)
  const shutdown = createShutdown()
  const signal = context.stopping.signal()
  const log = createLog(context.config.logLevel)

  async function open(): Promise<LiveProcess> {
    const { config, redisUrl } = await serversFor(options, context, shutdown)
    const { broker, registry } = openPipelineBroker(plan, config, context)
    shutdown.add('Kafka', broker.close)
    const live = await startLiveProcess({
      plan,
      config,
      broker,
      openStore: (namespace) =>
        createRedisStore({ url: redisUrl, ...redisSecurity(config), pipeline: plan.name, namespace }),
      registry,
      isCreatingTopics: options.createTopics ?? false,
      isRebuild: options.rebuild ?? false,
      clock,
      log,
      random,
      signal,
      shutdown,
    })
    const { topic } = plan.scored
    const unused = unusedPartitions(context.env, { topic, found: live.partitionsOf(topic) })
    if (unused !== null) terminal.err(`${unused}.`)
    terminal.err(`${plan.name} is running. Features, health and metrics: ${live.url}`)
    if (config.logLevel === 'info' || config.logLevel === 'debug')
      printProgress(plan, live, { terminal, clock, shutdown })
    return live
  }

  return untilStopped(open, { shutdown, signal, context, log })
}

/** Until the process ends. */
function printProgress(
  { name }: Plan,
  { totals, latencies, worker }: LiveProcess,
  { terminal, clock, shutdown }: Pick<CommandContext, 'terminal' | 'clock'> & { readonly shutdown: Shutdown },
): void {
  const sample = () => ({ atMs: clock.elapsedMs(), totals, latencies, tasks: worker.state().tasks })
  const lineOf = createProgressLines(sample())
  const timer = setInterval(() => {
    const line = lineOf(sample())
    if (line !== null) terminal.err(`${name}: ${line}`)
  }, progressEveryMs)
  shutdown.add('progress lines', async () => clearInterval(timer))
}

async function serversFor(options: RunCommandOptions, context: CommandContext, shutdown: Shutdown) {
  const { config } = context
  if (options.local) return startLocalServers(context, shutdown)
  const missing = [
    ...(config.kafkaBrokers.length === 0 ? ['KAFKA_BROKERS (host:port)'] : []),
    ...(config.redisUrl === null ? ['REDIS_URL (redis://host:port)'] : []),
  ]
  if (missing.length > 0 || config.redisUrl === null) {
    throw new PipelineError(
      'config_invalid',
      `millrace run needs ${missing.join(' and ')}; with --local it starts servers on this machine instead.`,
    )
  }
  return { config, redisUrl: config.redisUrl }
}
