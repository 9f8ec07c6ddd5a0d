/**
 * Servers of this machine for a command that was given `--local`: those that the settings do not name are started, and stop with the
 * command. Called by `run` and `topics`.
 */
import type { Config } from '../runtime/config/config.ts'
import type { CommandContext } from './context.ts'
import type { Shutdown } from './shutdown.ts'

export async function startLocalServers(
  { config, terminal }: Pick<CommandContext, 'config' | 'terminal'>,
  shutdown: Shutdown,
): Promise<{ readonly config: Config; readonly redisUrl: string }> {
  const { findServers } = await import('../runtime/servers/local-servers.ts')
  const servers = await findServers({
    kafkaBrokers: config.kafkaBrokers.join(','),
    ...(config.redisUrl === null ? {} : { redisUrl: config.redisUrl }),
    servers: config.servers,
    folder: config.folder,
    printLine: terminal.err,
  })
  shutdown.add('local servers', servers.close)
  return { config: { ...config, kafkaBrokers: servers.kafkaBrokers.split(',') }, redisUrl: servers.redisUrl }
}
