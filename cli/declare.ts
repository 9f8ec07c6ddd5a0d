/** What the files that declare commands share: the program, how a command is declared, how its action is run. */
import type { Command } from 'commander'
import type { CommandContext } from './context.ts'
import { instantOption, wholeOption } from './option-values.ts'

export type Action = (context: CommandContext) => Promise<number>

export interface Declare {
  readonly program: Command
  /** Runs an action with the context that only exists once the arguments are parsed. */
  readonly act: (action: Action) => Promise<void>
  /** A command on one definition. Its examples are what the help ends with and a wrong call is answered with. */
  readonly command: (name: string, description: string, examples: readonly string[]) => Command
  readonly fetch: typeof fetch
}

/** For `program.command(name)`: see `Declare.command`. `program` may be a command that has subcommands. */
export function definitionCommand(
  program: Command,
  name: string,
  description: string,
  examples: readonly string[],
): Command {
  const whole = program.parent === null ? name : `${program.name()} ${name}`
  const listed = examples.map((example) => `  millrace ${whole} ${example}`).join('\n')
  return program
    .command(name)
    .description(description)
    .argument('<definition>', 'file with the pipeline definition, such as pipelines/card-fraud.ts')
    .addHelpText('after', `\nExamples:\n${listed}`)
    .showHelpAfterError(`Type for example:\n${listed}\nmillrace ${whole} --help shows all options.`)
}

export function withSource(command: Command): Command {
  return command
    .requiredOption('--source <source>', 'handbook (generated), stdin, or a file with JSON lines')
    .option('--from <day>', 'first event time of a generated source', instantOption)
    .option('--until <day>', 'event time that a generated source ends before', instantOption)
    .option('--seed <seed>', 'of a generated source; 0 is the published data set', wholeOption(0, 524_287))
    .option('--stream <name>', 'stream of every line, where the lines do not name their own')
}
