/**
 * Kafka and Redis of `docker-compose.yml` for development, where Docker's engine is available; called by `local-servers.ts`. Every
 * Docker command has a time limit, and a failure is one sentence.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type ErrorCode, PipelineError } from '../../schemas/kernel/errors.ts'
import { packageFolder } from '../package-folder.ts'
import { lastLines, runCommand } from './command.ts'
import type { RunningServer } from './start-server.ts'

export type ComposeService = 'kafka' | 'redis'

export interface ComposeProject {
  /** Absolute; its servers keep their state in volumes of their own. */
  readonly folder: string
  readonly environment: NodeJS.ProcessEnv
  readonly printLine: (line: string) => void
}

export interface ComposePorts {
  readonly broker: number
  readonly redis: number
}

const askedMs = 15_000
/** Images are pulled within this. */
const upMs = 420_000
const healthyWithinSeconds = 180
const stopMs = 90_000
const composeFile = join(packageFolder, 'docker-compose.yml')
/** Messages of Docker's engine and of registries. */
const portTaken = /port is already allocated|address already in use|ports are not available/i
const cannotPull = new RegExp(
  'pull access denied|manifest (?:unknown|for)|failed to (?:resolve|do request)|no such host|TLS handshake|error pulling|' +
    'toomanyrequests|i/o timeout',
  'i',
)
const addresses: Readonly<Record<ComposeService, (ports: ComposePorts) => string>> = {
  kafka: ({ broker }) => `127.0.0.1:${broker}`,
  redis: ({ redis }) => `redis://127.0.0.1:${redis}`,
}

/** Version of the engine. Error: `server_missing` with the reason where it or its compose plugin does not answer. */
export async function findDocker(environment: NodeJS.ProcessEnv): Promise<string> {
  const options = { environment, timeoutMs: askedMs }
  const engine = await runCommand('docker', ['version', '--format', '{{.Server.Version}}'], options)
  if (engine.missing) throw missing('there is no "docker" on the PATH')
  if (engine.timedOut) throw missing(`its engine did not answer within ${askedMs / 1_000} s`)
  if (engine.exitCode !== 0) throw missing(`its engine does not answer: ${lastLine(engine.output)}`)
  const compose = await runCommand('docker', ['compose', 'version', '--short'], options)
  if (compose.missing || compose.exitCode !== 0) throw missing('its compose plugin is not installed')
  return lastLine(engine.output)
}

/**
 * Stops what a former start left running, so that its ports are free again. Call before ports are chosen. Errors: `server_failed`.
 */
export async function stopComposeServers(project: ComposeProject, services: readonly ComposeService[]): Promise<void> {
  await compose(project, ['stop', '--timeout', '30', ...services], stopMs, {})
}

/** Starts the services and waits until they are healthy. Errors: `server_missing`, `server_failed`, `port_in_use`. */
export async function startComposeServers(
  project: ComposeProject,
  services: readonly ComposeService[],
  ports: ComposePorts,
): Promise<RunningServer[]> {
  const published = { KAFKA_PORT: String(ports.broker), REDIS_PORT: String(ports.redis) }
  try {
    await compose(
      project,
      ['up', '--detach', '--wait', '--wait-timeout', String(healthyWithinSeconds), '--quiet-pull', ...services],
      upMs,
      published,
    )
  } catch (error) {
    // Some services may be running; the failure of the start is the one to report.
    await stopComposeServers(project, services).catch((stopping: Error) => project.printLine(stopping.message))
    throw error
  }
  return services.map((service) => {
    const address = addresses[service](ports)
    project.printLine(`${service} in Docker (compose project ${projectOf(project)}) at ${address}`)
    return { address, close: () => compose(project, ['stop', '--timeout', '30', service], stopMs, published) }
  })
}

/** One project for each folder, so that two checkouts do not share containers and volumes. */
export function projectOf({ folder }: Pick<ComposeProject, 'folder'>): string {
  return `millrace-${createHash('sha256').update(folder).digest('hex').slice(0, 8)}`
}

async function compose(
  project: ComposeProject,
  args: readonly string[],
  timeoutMs: number,
  published: Readonly<Record<string, string>>,
): Promise<void> {
  const whole = ['compose', '--project-name', projectOf(project), '--file', composeFile, ...args]
  const run = await runCommand('docker', whole, { environment: { ...project.environment, ...published }, timeoutMs })
  if (run.missing) throw missing('there is no "docker" on the PATH any more')
  if (run.exitCode === 0) return
  const how = run.timedOut ? `did not end within ${timeoutMs / 1_000} s` : `failed (exit code ${run.exitCode})`
  const { code, what } = causeOf(run.output)
  const sentence = `Docker: "docker compose ${args[0]}" ${how}${what}.`
  throw new PipelineError(code, `${sentence} Its last lines:\n${lastLines(run.output, 8)}`)
}

function causeOf(output: string): { readonly code: ErrorCode; readonly what: string } {
  if (portTaken.test(output)) {
    return { code: 'port_in_use', what: ': a port is taken' }
  }
  if (cannotPull.test(output)) return { code: 'server_missing', what: ': an image cannot be pulled' }
  return { code: 'server_failed', what: '' }
}

function missing(reason: string): PipelineError {
  return new PipelineError('server_missing', `Docker: ${reason}`)
}

function lastLine(output: string): string {
  return output.trim().split(/\r?\n/).at(-1) ?? ''
}
