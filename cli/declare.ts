/** What the files that declare commands share: the program, how a command is declared, how its action is run. */
import { type Command, Option } from 'commander'
import type { CommandContext } from './context.ts'
import {
  decimalOption,
  delimiterOption,
  formatOption,
  instantOption,
  listOption,
  mapOption,
  outputFileOption,
  overlapOption,
  scopedOption,
  wholeOption,
} from './option-values.ts'

export type Action = (context: CommandContext) => Promise<number>

export interface ActOptions {
  /** It starts the servers that are not named, rather than using those of another process, which would end with that one. */
  readonly startsServers?: boolean
}

export interface Declare {
  readonly program: Command
  /** Runs an action with the context that only exists once the arguments are parsed. */
  readonly act: (action: Action, options?: ActOptions) => Promise<void>
  /** Without the configuration: for those that must not fail for a wrong setting. */
  readonly actAnyway: (action: (context: Omit<CommandContext, 'config'>) => Promise<number>) => Promise<void>
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
  return withExamples(program.command(name), examples)
    .description(description)
    .argument('<definition>', 'file with the pipeline definition, such as pipelines/card-fraud.ts')
}

/** The help ends with them, and a wrong call is answered with them. */
export function withExamples(command: Command, examples: readonly string[]): Command {
  const above = command.parent?.parent ? `${command.parent.name()} ` : ''
  const name = `${above}${command.name()}`
  const listed = examples.map((example) => `  millrace ${name} ${example}`.trimEnd()).join('\n')
  return command
    .addHelpText('after', `\nExamples:\n${listed}`)
    .showHelpAfterError(`For example:\n${listed}\nmillrace ${name} --help shows all options.`)
}

export function withSource(command: Command): Command {
  return withWholeSource(command)
    .option('--from <day>', 'start of a generated source, event time', instantOption)
    .option('--until <day>', 'end of a generated source (exclusive), event time', instantOption)
}

/** For commands that describe the time span they need themselves. */
export function withWholeSource(command: Command): Command {
  const source = '--source <source>'
  const what =
    'handbook (generated), stdin, or a CSV, JSON-lines or Parquet file (.gz too); stream=file, repeated, merges several by event time'
  return withReading(command.requiredOption(source, what, listOption))
}

/** For commands that send the benchmark unless a source is named. */
export function withOwnSource(command: Command): Command {
  const what = 'files of your own instead of the benchmark: stream=file, repeated, merges several by event time'
  return withReading(command.option('--source <source>', what, listOption))
}

/** How sources are read. Options that take `stream=value` are for the sources of that stream. */
function withReading(command: Command): Command {
  return command
    .option('--seed <seed>', 'seed of a generated source; 0 is the published data set', wholeOption(0, 524_287))
    .option('--stream <name>', 'stream of every row of a source that names none, where rows have no stream column')
    .option(
      '--map <field=column>',
      'columns (or keys) of fields with other names: field=column or stream.field=column, comma-separated or repeated',
      mapOption,
    )
    .option(
      '--format <format>',
      'csv, jsonl or parquet: of a file without a known extension, or of stdin (default: jsonl)',
      scopedOption(formatOption),
    )
    .option(
      '--delimiter <character>',
      'between the cells of a CSV (default: found in the file)',
      scopedOption(delimiterOption),
    )
    .option('--encoding <name>', 'of a text file, such as latin1 or utf-16le (default: utf-8)', scopedOption(String))
    .option('--decimal <character>', 'between whole and fraction of numbers, "." or ","', scopedOption(decimalOption))
    .option(
      '--missing <texts>',
      'texts that mean no value, comma-separated; "common" is a list of NA, null, - and their like',
      scopedOption(String),
    )
    .option('--trim', 'drop spaces around texts')
    .option('--dates <field=format>', 'formats of dates, such as at=dd.MM.yyyy HH:mm or at=seconds', mapOption)
    .option('--zone <name>', 'of times without a zone, such as Europe/Berlin', scopedOption(String))
    .option(
      '--overlap <which>',
      'instant of a local time that exists twice: earlier (default), later or refuse',
      scopedOption(overlapOption),
    )
    .option('--id <kind>', 'ids of rows: row, row:prefix, hash or hash:column,column', scopedOption(String))
    .option('--mapping <file>', 'TypeScript file that computes fields of a stream from columns', listOption)
    .option('--allow-rejects <rows>', 'invalid rows that are accepted (default: 0)', wholeOption(0, 1_000_000_000))
    .option('--sort', 'sort files that are not in the order of event time, on the disk')
}

/** Of every command that prints figures; its value is for `writeFigures`. */
export function jsonFileOption(): Option {
  return new Option('--json <file>', 'write the figures to a file as well').argParser(outputFileOption)
}
