/** `millrace rejected` and its three subcommands: their arguments, options and examples. Called by `program.ts`. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Declare, definitionCommand, withExamples } from '../declare.ts'
import { instantOption, outputFileOption, wholeOption } from '../option-values.ts'
import type { DeadLetterLocation } from './read.ts'

export function declareRejectedCommands(declare: Declare): void {
  const rejected = withExamples(declare.program.command('rejected'), [
    'list pipelines/card-fraud.ts',
    'show pipelines/card-fraud.ts 0:17',
    'replay pipelines/card-fraud.ts 0:17',
  ]).description('List dead letters, and requeue their events after repair.')
  declareList(rejected, declare)
  declareShow(rejected, declare)
  declareReplay(rejected, declare)
}

function declareList(rejected: Command, { act }: Declare): void {
  withFilters(
    definitionCommand(rejected, 'list', 'List dead letters and count them by reason.', [
      'pipelines/card-fraud.ts',
      'pipelines/card-fraud.ts --code partition_mismatch --from start --count 100',
    ]),
  )
    .addOption(new Option('--from <end>', 'oldest or newest first').choices(['start', 'end']).default('end'))
    .option('--count <count>', 'list at most this many', wholeOption(1, 10_000), 20)
    .option('--json', 'print one JSON object a line')
    .action((definition, options) =>
      act(async (context) => (await import('./list.ts')).rejectedListCommand(definition, options, context)),
    )
}

function declareShow(rejected: Command, { act }: Declare): void {
  definitionCommand(rejected, 'show', 'Show everything about one dead letter.', ['pipelines/card-fraud.ts 0:17'])
    .argument('<location>', 'partition:offset in the rejected topic, as listed', locationOption)
    .option('--json', 'print JSON')
    .action((definition, location, options) =>
      act(async (context) => (await import('./show.ts')).rejectedShowCommand(definition, location, options, context)),
    )
}

function declareReplay(rejected: Command, { act }: Declare): void {
  withFilters(
    definitionCommand(rejected, 'replay', 'Requeue the events of dead letters into their raw topics.', [
      'pipelines/card-fraud.ts 0:17 2:4',
      'pipelines/card-fraud.ts 0:17 --value repaired.json',
      'pipelines/card-fraud.ts --code function_threw --dry-run',
      'pipelines/card-fraud.ts --all',
    ]),
  )
    .argument('[locations...]', 'partition:offset in the rejected topic, as listed', locationsOption)
    .option('--all', 'every dead letter')
    .option('--value <file>', 'repaired event for the one location, JSON or Avro, instead of the original bytes')
    .option('--dry-run', 'report what would happen, and send nothing')
    .option('--json <file>', 'write the figures to a file as well', outputFileOption)
    .action((definition, locations: readonly DeadLetterLocation[], options) =>
      act(async (context) =>
        (await import('./replay.ts')).rejectedReplayCommand(definition, locations, options, context),
      ),
    )
}

function withFilters(command: Command): Command {
  return command
    .option('--code <code>', 'only with a problem of this code, such as late')
    .option('--stream <name>', 'only of this stream')
    .option('--stage <name>', 'only rejected by this stage, such as customer or http')
    .option('--since <instant>', 'only written at or after that day or instant', instantOption)
    .option('--until <instant>', 'only written before that day or instant', instantOption)
}

function locationOption(text: string): DeadLetterLocation {
  const [, partition, offset] = /^(\d{1,4}):(\d{1,15})$/.exec(text) ?? []
  if (partition === undefined) throw new InvalidArgumentError('Expected partition:offset, such as 0:17.')
  return { partition: Number(partition), offset: Number(offset) }
}

function locationsOption(text: string, before: readonly DeadLetterLocation[] | undefined): DeadLetterLocation[] {
  return [...(before ?? []), locationOption(text)]
}
