/** The commands that look at a pipeline: their arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import type { Declare } from './declare.ts'
import { instantOption, outputFileOption, urlOption, wholeOption } from './option-values.ts'

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
  const tail = command('tail', 'Print predictions, dead letters or models as they are written.', [
    'pipelines/card-fraud.ts predictions',
    'pipelines/card-fraud.ts rejected --from start --count 20',
    'pipelines/card-fraud.ts models --from start --json',
  ])
  tail
    .addArgument(tail.createArgument('<topic>', 'what to print').choices(['predictions', 'rejected', 'models']))
    .addOption(new Option('--from <place>', 'where to begin').choices(['start', 'end']).default('end'))
    .option('--count <records>', 'end after so many records', wholeOption(1, 1_000_000_000))
    .option('--json', 'print one JSON object a line')
    .action((definition, topic, options) =>
      act(async (context) => (await import('./tail.ts')).tailCommand(definition, topic, options, context)),
    )
}

function declareConfig({ program, act }: Declare): void {
  program
    .command('config')
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
