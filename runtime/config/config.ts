/**
 * The environment comes in once at start, the frozen configuration goes out, and all faults are reported together. Called by the command;
 * nothing else reads the environment.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { nearestName } from '../../schemas/kernel/nearest-name.ts'
import { type Fault, faultsTogether } from './config-rules.ts'
import { type Config, settingsTable } from './config-table.ts'
import type { Setting } from './settings.ts'

export type { Config } from './config-table.ts'

export interface ConfigRow {
  readonly variable: string
  readonly type: string
  readonly default: string
  readonly unit: string
  readonly sentence: string
}

/** A row with its value in this process; secrets are hidden. */
export interface ConfigRowInForce extends ConfigRow {
  readonly value: string
  readonly from: 'environment' | 'default'
}

type Environment = Readonly<Record<string, string | undefined>>

const ownPrefix = 'MILLRACE_'
const settings = Object.entries(settingsTable) as Array<[string, Setting<unknown>]>

/** An empty variable counts as unset. Throws `config_invalid` with all faults in `details.faults`. */
export function parseConfig(environment: Environment): Config {
  const faults: Fault[] = []
  const values: Record<string, unknown> = {}
  const given = new Set<string>()
  for (const [key, { variable, fallback, expected, parse, shown, received = shown }] of settings) {
    const text = environment[variable]
    if (text === undefined || text === '') {
      values[key] = fallback
      continue
    }
    given.add(variable)
    const value = parse(text)
    if (value === null) faults.push({ variable, expected, received: received(text) })
    else values[key] = value
  }
  faults.push(...faultsTogether(given, values as Partial<Config>), ...unknownNames(environment))
  if (faults.length > 0) throw invalid(faults)
  for (const value of Object.values(values)) Object.freeze(value)
  // The loop has set every key of the table to a value of its row's type, which the compiler cannot infer.
  return Object.freeze(values) as unknown as Config
}

/** The rows of the documentation, in the order of the table. */
export function configTable(): ConfigRow[] {
  return settings.map(([, { variable, type, fallback, unit, sentence }]) => ({
    variable,
    type,
    default: fallback === null ? '' : String(fallback),
    unit,
    sentence,
  }))
}

/** The same rows with their values in an environment that `parseConfig` accepts. */
export function configInForce(environment: Environment): ConfigRowInForce[] {
  return configTable().map((row, at) => {
    const text = environment[row.variable]
    return text === undefined || text === ''
      ? { ...row, value: row.default, from: 'default' }
      : { ...row, value: settings[at]![1].shown(text), from: 'environment' }
  })
}

function unknownNames(environment: Environment): Fault[] {
  const known = settings.map(([, { variable }]) => variable)
  return Object.keys(environment)
    .filter((variable) => variable.startsWith(ownPrefix) && !known.includes(variable))
    .map((variable) => ({
      variable,
      expected: `a setting of Millrace; the nearest is ${nearestName(variable, known)}`,
      received: 'an unknown name',
    }))
}

function invalid(faults: readonly Fault[]): PipelineError {
  const lines = faults.map(
    ({ variable, expected, received }) => `  ${variable}: expected ${expected}, received ${received}`,
  )
  const count = faults.length === 1 ? '1 setting is' : `${faults.length} settings are`
  return new PipelineError('config_invalid', `${count} wrong:\n${lines.join('\n')}`, { details: { faults } })
}
