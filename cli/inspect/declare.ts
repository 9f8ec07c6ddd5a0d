/** The commands that look at a pipeline: their arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { rejectCodes } from '../../schemas/kernel/event.ts'
import { type Declare, withExamples } from '../declare.ts'
import {
  conditionsOption,
  instantOption,
  numberOption,
  outputFileOption,
  urlOption,
  wholeOption,
} from '../option-values.ts'
import { tailTopics } from '../tail/tail-topics.ts'

export function declareLookCommands(declare: Declare): void {
  declareFeatures(declare)
  declareTail(declare)
  declareConfig(declare)
  declareOpenApi(declare)
}

function declareFeatures({ command, act, fetch }: Declare): void {
  command('features', 'Ask a running process for the features of some keys.', [
    'pipelines/card-fraud.ts customer 596 4961',
    'pipelines/card-fraud.ts terminal 3156 --as-of 2018-05-01T12:00:00Z --knowledge then',
  ])
    .argument('<entity>', 'entity of the definition, such as customer')
    .argument('<keys...>', 'keys of that entity')
    .option('--as-of <instant>', 'as they were at that day or instant', instantOption)
    .addOption(
      new Option('--knowledge <when>', 'with all that is known now, or only what was known then')
        .choices(['then', 'now'])
        .default('now'),
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

function declareTail({ command, act }: Declare): void {
  command('tail', 'Print predictions, dead letters, models or raw events as they are written.', [
    "pipelines/card-fraud.ts predictions --min-score 0.9 --where 'amount>=100'",
    'pipelines/card-fraud.ts rejected --from start --code late --count 20',
    'pipelines/card-fraud.ts models --from start --json',
    'pipelines/card-fraud.ts transactions --since 2018-04-01 --key 596',
  ])
    .argument('<topic>', `${tailTopics.join(', ')}, or a stream of the definition`)
    .addOption(new Option('--from <place>', 'where to begin').choices(['start', 'end']).default('end'))
    .addOption(
      new Option('--since <instant>', 'begin with what Kafka was given since that day or instant')
        .argParser(instantOption)
        .conflicts('from'),
    )
    .option('--until <instant>', 'end with what Kafka was given before that day or instant', instantOption)
    .option('--count <lines>', 'end after so many lines', wholeOption(1, 1_000_000_000))
    .option('--json', 'print one JSON object a line')
    .option('--id <id>', 'predictions, streams: of that event only')
    .option('--key <key>', 'predictions, rejected, streams: with that record key only')
    .option('--min-score <score>', 'predictions: scored at least so high', numberOption)
    .option('--max-score <score>', 'predictions: scored at most so high', numberOption)
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
      act(async (context) => (await import('../tail/tail.ts')).tailCommand(definition, topic, options, context)),
    )
}

function declareConfig({ program, act }: Declare): void {
  withExamples(program.command('config'), ['', '--json'])
    .description('Print every setting: its value, where it comes from, what it means. Secrets are hidden.')
    .option('--json', 'print JSON')
    .action((options) => act(async (context) => (await import('./config.ts')).configCommand(options, context)))
}

function declareOpenApi({ command, act }: Declare): void {
  command('openapi', 'Print the OpenAPI 3.1 description of the HTTP API that the definition derives.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --out openapi.json',
  ])
    .option('--out <file>', 'write it to a file instead', outputFileOption)
    .action((definition, options) =>
      act(async (context) => (await import('./openapi.ts')).openApiCommand(definition, options, context)),
    )
}
