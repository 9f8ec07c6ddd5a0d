/** `millrace tail`: its arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { rejectCodes } from '../../schemas/kernel/event.ts'
import type { Declare } from '../declare.ts'
import { conditionsOption, instantOption, numberOption, wholeOption } from '../option-values.ts'
import { tailTopics } from './topics.ts'

export function declareTailCommand({ command, act }: Declare): void {
  command('tail', 'Print predictions, dead letters, models or raw events as they are written.', [
    "pipelines/card-fraud.ts predictions --min-score 0.9 --where 'amount>=100'",
    'pipelines/card-fraud.ts rejected --from start --code late --count 20',
    'pipelines/card-fraud.ts models --from start --json',
    'pipelines/card-fraud.ts transactions --since 2018-04-01 --key 596',
  ])
    .argument('<topic>', `${tailTopics.join(', ')}, or a stream of the definition`)
    .addOption(new Option('--from <end>', 'where to begin').choices(['start', 'end']).default('end'))
    .addOption(
      new Option('--since <instant>', 'start with records appended since that day or instant')
        .argParser(instantOption)
        .conflicts('from'),
    )
    .option('--until <instant>', 'stop at records appended at or after that day or instant', instantOption)
    .option(
      '--count <lines>',
      'stop after this many lines; with --from start or --since also when there is no more',
      wholeOption(1, 1_000_000_000),
    )
    .option('--json', 'print one JSON object a line')
    .option('--id <id>', 'predictions, streams: of that event only')
    .option('--key <key>', 'predictions, rejected, streams: with that record key only')
    .option('--min-score <score>', 'predictions: with at least this score', numberOption)
    .option('--max-score <score>', 'predictions: with at most this score', numberOption)
    .option('--model <version>', 'predictions, models: of that model version only')
    .addOption(
      new Option(
        '--where <condition>',
        'predictions: feature, streams: number field; name, one of >= <= != = > < and a number, in quotes; all given must hold',
      ).argParser(conditionsOption),
    )
    .addOption(new Option('--code <code>', 'rejected: for that reason only').choices(rejectCodes))
    .option('--stream <name>', 'rejected: events of that stream only')
    .option('--stage <entity>', 'rejected: by the stage of that entity only')
    .action((definition, topic, options) =>
      act(async (context) => (await import('./tail.ts')).tailCommand(definition, topic, options, context)),
    )
}
