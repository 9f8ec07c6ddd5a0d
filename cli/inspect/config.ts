/** `millrace config`: every setting with the value that holds and where it comes from. Secrets are hidden. */
import { configInForce } from '../../runtime/config/config.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { tableLines } from '../terminal.ts'

export interface ConfigCommandOptions {
  readonly json?: boolean
}

/** Faults of the settings were reported before: the command does not start then. */
export async function configCommand(
  { json }: ConfigCommandOptions,
  { env, terminal }: Pick<CommandContext, 'env' | 'terminal'>,
): Promise<number> {
  const rows = configInForce(env)
  if (json) {
    terminal.out(JSON.stringify(rows, null, 2))
    return exitCodes.done
  }
  const head = ['variable', 'value', 'from', 'type', 'unit', 'meaning']
  const cells = rows.map(({ variable, value, from, type, unit, sentence }) => [
    variable,
    value,
    from,
    type,
    unit,
    sentence,
  ])
  for (const line of tableLines([head, ...cells])) terminal.out(line)
  return exitCodes.done
}
