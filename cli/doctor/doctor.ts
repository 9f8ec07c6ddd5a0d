/** `millrace doctor`: everything that a pipeline needs, checked without taking anything over or writing anything; one line each. */
import type { RedisStore } from '../../feature-store/redis/store.ts'
import { type Config, parseConfig } from '../../runtime/config/config.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { besideRunningServers } from '../beside-running-servers.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { writeFigures } from '../whole-file.ts'
import type { Check } from './check.ts'
import { examine } from './examine.ts'
import { createSubject, type SubjectOptions } from './subject.ts'

export interface DoctorCommandOptions {
  readonly url?: string
  readonly json?: string
}

export interface DoctorContext extends Pick<CommandContext, 'env' | 'terminal' | 'clock' | 'openBroker'> {
  readonly fetch: typeof fetch
  /** Default: Redis. */
  readonly openStore?: SubjectOptions['openStore']
}

const words = { ok: 'ok  ', warn: 'warn', fail: 'FAIL' } as const

export async function doctorCommand(
  definition: string,
  options: DoctorCommandOptions,
  context: DoctorContext,
): Promise<number> {
  const { terminal, clock, openBroker, openStore = openRedis } = context
  const { config: own, faults } = soundConfig(context.env)
  const { config, note } = besideRunningServers(own)
  if (note !== null) terminal.err(note)
  const subject = createSubject({ definition, config, clock, openBroker, openStore })
  try {
    const checks = await examine(subject, {
      env: context.env,
      faults,
      asked: {
        url: options.url ?? `http://${config.httpHost}:${config.httpPort}`,
        isGiven: options.url !== undefined,
        fetch: context.fetch,
      },
      onCheck: (check) => terminal.out(line(check)),
    })
    const count = (status: Check['status']) => checks.filter((check) => check.status === status).length
    terminal.out(`${count('ok')} ok, ${count('warn')} warn, ${count('fail')} FAIL.`)
    await writeFigures(options.json, { checks })
    return count('fail') === 0 ? exitCodes.done : exitCodes.failed
  } finally {
    await subject.close()
  }
}

function line({ name, status, message, remedy }: Check): string {
  const text = remedy === undefined ? message : `${message}${message.includes('\n') ? '\n' : ' '}${remedy}`
  return `${words[status]}  ${name}: ${text.replaceAll('\n', '\n      ')}`
}

/** Wrong settings are reported, and the examination continues without them. */
function soundConfig(env: CommandContext['env']): { config: Config; faults: PipelineError | null } {
  try {
    return { config: parseConfig(env), faults: null }
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'config_invalid') throw error
    const wrong = (error.details.faults as ReadonlyArray<{ variable: string }>).map(({ variable }) => variable)
    const rest = Object.entries(env).filter(([name]) => !wrong.includes(name))
    // Without them other settings may be incomplete; an empty environment is always valid.
    const isLess = rest.length < Object.keys(env).length
    return { config: soundConfig(isLess ? Object.fromEntries(rest) : {}).config, faults: error }
  }
}

export async function openRedis(
  ...[config, plan, namespace]: Parameters<SubjectOptions['openStore']>
): Promise<RedisStore> {
  const { createRedisStore } = await import('../../feature-store/redis/store.ts')
  const { redisSecurity } = await import('../../runtime/config/security.ts')
  const at = { url: config.redisUrl, ...redisSecurity(config) }
  return createRedisStore({ ...at, pipeline: plan.name, namespace, mayEvict: true })
}
