/**
 * Every setting that comes from the environment, in one table: the environment goes in once at start, the frozen configuration comes
 * out, and everything that is wrong is reported together. The command calls it; nobody else reads the environment.
 */
import { PipelineError } from '../schemas/errors.ts'
import type { LogLevel } from './log.ts'
import { nearestName } from './nearest-name.ts'

/** One row. `parse` answers null where the text is no such value; `expected` says what it should be. */
interface Setting<T> {
  readonly variable: string
  readonly type: string
  readonly fallback: T
  readonly unit: string
  readonly sentence: string
  readonly expected: string
  readonly parse: (text: string) => T | null
}

type Told<T> = Pick<Setting<T>, 'variable' | 'fallback' | 'sentence'> & { readonly unit?: string }

const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']
const worker = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

const table = {
  kafkaBrokers: brokers({
    variable: 'KAFKA_BROKERS',
    fallback: [],
    sentence: 'Brokers of the Kafka cluster to begin with; any of them will do.',
  }),
  redisUrl: redis({ variable: 'REDIS_URL', fallback: null, sentence: 'The Redis that keeps the features.' }),
  schemaRegistryUrl: registry({
    variable: 'SCHEMA_REGISTRY_URL',
    fallback: null,
    sentence:
      'The schema registry for raw events in the Confluent wire format, with user:password@ where it asks for them.',
  }),
  namespace: name({
    variable: 'MILLRACE_NAMESPACE',
    fallback: '',
    sentence: 'Prefix of every topic, group and key, so that several runs can share servers.',
  }),
  worker: name({
    variable: 'MILLRACE_WORKER',
    fallback: 'worker-1',
    sentence: 'Stable name of this process within its group: unique, and the same again after a restart.',
  }),
  httpHost: text({
    variable: 'MILLRACE_HTTP_HOST',
    fallback: '127.0.0.1',
    sentence: 'Address that the HTTP server listens on.',
  }),
  httpPort: whole({
    variable: 'MILLRACE_HTTP_PORT',
    fallback: 8080,
    min: 0,
    max: 65_535,
    sentence: 'Port of the HTTP server; 0 takes any free one.',
  }),
  partitions: whole({
    variable: 'MILLRACE_PARTITIONS',
    fallback: 4,
    unit: 'partitions',
    min: 1,
    max: 1_024,
    sentence: 'Partitions of the topics that are created; most processes that can share the work.',
  }),
  logLevel: logLevel({ variable: 'MILLRACE_LOG_LEVEL', fallback: 'info', sentence: 'Least level that is logged.' }),
  folder: text({
    variable: 'MILLRACE_FOLDER',
    fallback: '.millrace',
    sentence: 'Folder for local servers and what they fetch; not under version control.',
  }),
  holdMaxMs: whole({
    variable: 'MILLRACE_HOLD_MAX_MS',
    fallback: 30_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    sentence: 'Longest wait of an event for earlier ones of other partitions; those let go early are counted.',
  }),
  commitEveryMs: whole({
    variable: 'MILLRACE_COMMIT_EVERY_MS',
    fallback: 10,
    unit: 'ms',
    min: 0,
    max: 10_000,
    sentence: 'Least time between two transactions while there is no backlog.',
  }),
  sessionTimeoutMs: whole({
    variable: 'MILLRACE_SESSION_TIMEOUT_MS',
    fallback: 10_000,
    unit: 'ms',
    min: 6_000,
    max: 300_000,
    sentence: 'How long a process may be silent before its tasks go to others.',
  }),
} as const

type Table = typeof table

/** Parsed and deep-frozen. `kafkaBrokers` is empty, `redisUrl` and `schemaRegistryUrl` null where they are not set. */
export type Config = { readonly [K in keyof Table]: Table[K] extends Setting<infer T> ? T : never }

export interface ConfigRow {
  readonly variable: string
  readonly type: string
  readonly default: string
  readonly unit: string
  readonly sentence: string
}

interface Fault {
  readonly variable: string
  readonly expected: string
  readonly received: string
}

const ownPrefix = 'MILLRACE_'

/** An empty variable counts as not set. Throws `config_invalid` with all faults in `details.faults`. */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const faults: Fault[] = []
  const values: Record<string, unknown> = {}
  for (const [key, setting] of Object.entries(table) as Array<[string, Setting<unknown>]>) {
    const given = environment[setting.variable]
    if (given === undefined || given === '') {
      values[key] = setting.fallback
      continue
    }
    const value = setting.parse(given)
    if (value === null) {
      faults.push({ variable: setting.variable, expected: setting.expected, received: withoutPassword(given) })
    }
    values[key] = value
  }
  const known = Object.values(table).map(({ variable }) => variable)
  for (const variable of Object.keys(environment)) {
    if (!variable.startsWith(ownPrefix) || (known as readonly string[]).includes(variable)) continue
    faults.push({
      variable,
      expected: `a setting of Millrace; the nearest is ${nearestName(variable, known)}`,
      received: 'an unknown name',
    })
  }
  if (faults.length > 0) throw refused(faults)
  for (const value of Object.values(values)) Object.freeze(value)
  // The loop has filled every key of the table with a value of its row's type, which the compiler cannot see.
  return Object.freeze(values) as unknown as Config
}

/** The rows of the documentation's table, in the table's order. */
export function configTable(): ConfigRow[] {
  return Object.values(table).map(({ variable, type, fallback, unit, sentence }) => ({
    variable,
    type,
    default: fallback === null ? '' : String(fallback),
    unit,
    sentence,
  }))
}

function refused(faults: readonly Fault[]): PipelineError {
  const lines = faults.map(
    ({ variable, expected, received }) => `  ${variable}: expected ${expected}, received ${received}`,
  )
  const count = faults.length === 1 ? '1 setting is' : `${faults.length} settings are`
  return new PipelineError('config_invalid', `${count} wrong:\n${lines.join('\n')}`, { details: { faults } })
}

/** Faults are printed and logged; a password in a URL must not be. */
function withoutPassword(text: string): string {
  return text.replace(/\/\/.*@/, '//***@')
}

function brokers(told: Told<readonly string[]>): Setting<readonly string[]> {
  const place = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/
  return {
    ...withUnit(told),
    type: 'list of host:port',
    expected: 'host:port, several separated by commas, ports from 1 to 65535',
    parse: (text) => {
      const places = text.split(',').map((part) => part.trim())
      const isGood = places.every((part) => {
        const port = Number(place.exec(part)?.[1])
        return port >= 1 && port <= 65_535
      })
      return isGood ? places : null
    },
  }
}

function redis(told: Told<string | null>): Setting<string | null> {
  return {
    ...withUnit(told),
    type: 'URL',
    expected: 'redis://host:port or rediss://host:port',
    parse: (text) => (/^rediss?:\/\/[^\s/]+/.test(text) && URL.canParse(text) ? text : null),
  }
}

function registry(told: Told<string | null>): Setting<string | null> {
  return {
    ...withUnit(told),
    type: 'URL',
    expected: 'http://host:port or https://host:port',
    parse: (text) => (/^https?:\/\/[^\s/?#]+/.test(text) && URL.canParse(text) ? text : null),
  }
}

function name(told: Told<string>): Setting<string> {
  return {
    ...withUnit(told),
    type: 'name',
    expected: '1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit',
    parse: (text) => (worker.test(text) ? text : null),
  }
}

function text(told: Told<string>): Setting<string> {
  return {
    ...withUnit(told),
    type: 'text',
    expected: 'text without blanks at its ends',
    parse: (given) => (given === given.trim() ? given : null),
  }
}

function whole(told: Told<number> & { readonly min: number; readonly max: number }): Setting<number> {
  const { min, max, ...rest } = told
  return {
    ...withUnit(rest),
    type: 'whole number',
    expected: `a whole number from ${min} to ${max}`,
    parse: (given) => (/^\d{1,9}$/.test(given) && Number(given) >= min && Number(given) <= max ? Number(given) : null),
  }
}

function logLevel(told: Told<LogLevel>): Setting<LogLevel> {
  return {
    ...withUnit(told),
    type: 'choice',
    expected: `one of ${logLevels.join(', ')}`,
    parse: (given) => logLevels.find((level) => level === given) ?? null,
  }
}

function withUnit<T>(told: Told<T>): Told<T> & { readonly unit: string } {
  return { ...told, unit: told.unit ?? '' }
}
