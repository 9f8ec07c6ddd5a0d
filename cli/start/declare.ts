/** `millrace start`: its arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { type Declare, withOwnSource } from '../declare.ts'
import { outputFileOption, positiveOption, wholeOption } from '../option-values.ts'

const startExamples = [
  '  npm start',
  '  npm start -- --events 50000 --json figures.json',
  '  npm start -- --resume --rate 2000',
  '  npm start -- --embedded',
  '  npm start -- pipelines/card-fraud.ts --source transactions=tx.csv --source chargebacks=cb.csv',
].join('\n')

export function declareStartCommand({ program, act }: Declare): void {
  withOwnSource(program.command('start'))
    .description(
      'Demonstrate a pipeline: servers, 45 days of events, a first model, then scored events at a steady pace.',
    )
    .argument('[definition]', 'file with the pipeline definition', 'pipelines/card-fraud.ts')
    .option('--resume', 'continue where the last start stopped, instead of starting in a new namespace')
    .option('--embedded', 'without servers: broker and store are in the memory of this process, and nothing is stored')
    .option(
      '--days <days>',
      'days of events to send at full speed before the first model (default: 45; of own files three quarters)',
      wholeOption(1, 3_650),
    )
    .option('--events <count>', 'stop after this many paced and scored events', wholeOption(1, 1_000_000_000))
    .option('--rate <events>', 'events a second of the paced part (default: 500)', positiveOption)
    .addOption(
      new Option('--speed <factor>', 'pace by event time instead: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--json <file>', 'write the figures of the paced part to a file as well', outputFileOption)
    .addHelpText('after', `\nExamples:\n${startExamples}`)
    .showHelpAfterError(`For example:\n${startExamples}\nmillrace start --help shows all options.`)
    .action((definition, options) =>
      act(async (context) => (await import('./start.ts')).startCommand(definition, options, context), {
        startsServers: true,
      }),
    )
}
