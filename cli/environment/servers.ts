/** An environment on real servers, found or started, with `run` and `train` as child processes. Called by `start` and `verify`. */
import { freePort } from '../../runtime/servers/free-port.ts'
import { findServers } from '../../runtime/servers/local-servers.ts'
import { startCommandProcess } from '../child-command.ts'
import { openPipelineBroker } from '../context.ts'
import type { Parts, RunEnvironment, Subject } from './environment.ts'

/** Rejects with `server_missing` where a server can neither be reached nor started on this machine. */
export async function openServerEnvironment(
  { definition, namespace, plan }: Subject,
  parts: Parts,
): Promise<RunEnvironment> {
  const { context, shutdown, giveUp } = parts
  const { config } = context
  const servers = await findServers({
    kafkaBrokers: config.kafkaBrokers.join(','),
    ...(config.redisUrl === null ? {} : { redisUrl: config.redisUrl }),
    servers: config.servers,
    folder: config.folder,
    printLine: context.terminal.out,
  })
  shutdown.add('servers', servers.close)
  const { broker } = openPipelineBroker(plan, { ...config, kafkaBrokers: servers.kafkaBrokers.split(',') }, context)
  shutdown.add('Kafka', broker.close)
  const env = {
    MILLRACE_LOG_LEVEL: 'warn',
    ...context.env,
    KAFKA_BROKERS: servers.kafkaBrokers,
    REDIS_URL: servers.redisUrl,
    MILLRACE_NAMESPACE: namespace,
    // Empty is unset: the raw topics are its own, whatever this process was given.
    MILLRACE_RAW_NAMESPACE: '',
  }
  const command = (args: readonly string[], more: Readonly<Record<string, string>> = {}) => {
    const child = startCommandProcess(args, { ...env, ...more })
    shutdown.add(args[0]!, child.stop)
    return child
  }
  return {
    broker,
    isDurable: true,
    // Kafka stores a backlog of any size.
    inFlightMax: Number.POSITIVE_INFINITY,
    async run(processes) {
      const ports: number[] = []
      for (let number = 0; number < processes; number++) {
        const isFirst = number === 0
        const port = isFirst && config.httpPort > 0 ? config.httpPort : await freePort(undefined, ports)
        ports.push(port)
        command(['run', definition], {
          MILLRACE_HTTP_PORT: String(port),
          ...(isFirst ? {} : { MILLRACE_WORKER: `${config.worker}-${number + 1}` }),
        }).done.catch(giveUp)
      }
      const [first, ...others] = ports.map((port) => `http://${config.httpHost}:${port}`)
      return [first!, ...others]
    },
    train: () => command(['train', definition]).done,
    async learn() {
      const isAnywhere = config.httpPort === 0 || config.trainerPort === 0
      const port = isAnywhere ? await freePort(undefined, []) : config.trainerPort
      command(['trainer', definition], { MILLRACE_TRAINER_PORT: String(port) }).done.catch(giveUp)
      return `http://${config.httpHost}:${port}`
    },
  }
}
