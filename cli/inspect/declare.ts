/** The commands that show features and settings: their arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { type Declare, withExamples } from '../declare.ts'
import { instantOption, urlOption } from '../option-values.ts'

export function declareInspectCommands(declare: Declare): void {
  declareFeatures(declare)
  declareConfig(declare)
}

function declareFeatures({ command, act, fetch }: Declare): void {
  command('features', 'Query a running process for the features of some keys.', [
    'pipelines/card-fraud.ts customer 596 4961',
    'pipelines/card-fraud.ts terminal 3156 --as-of 436381',
    'pipelines/card-fraud.ts terminal 3156 --through 2018-05-01T12:00:00Z --knowledge then',
  ])
    .argument('<entity>', 'entity of the definition, such as customer')
    .argument('<keys...>', 'keys of that entity')
    .option('--as-of <id>', 'as the event of that id saw them')
    .option('--stream <name>', 'stream of that event; the scored one by default')
    .option('--through <instant>', 'everything at or before that day or instant', instantOption)
    .option('--place <place>', 'as the event at that place saw them: <instant>,<stream>,<partition>,<offset>')
    .addOption(
      new Option(
        '--knowledge <when>',
        'with everything known now, or only what was known then; then with --as-of and --place, otherwise now',
      ).choices(['then', 'now']),
    )
    .option('--url <url>', 'HTTP address of the process', urlOption, 'http://127.0.0.1:8080')
    .option('--json', 'print JSON')
    .action((definition, entity, keys, options) =>
      act(async (context) => {
        const { featuresCommand } = await import('./features.ts')
        return featuresCommand(definition, entity, keys, options, { ...context, fetch })
      }),
    )
}

function declareConfig({ program, act }: Declare): void {
  withExamples(program.command('config'), ['', '--json'])
    .description('Print every setting: its value, where it comes from, what it means. Secrets are hidden.')
    .option('--json', 'print JSON')
    .action((options) => act(async (context) => (await import('./config.ts')).configCommand(options, context)))
}
