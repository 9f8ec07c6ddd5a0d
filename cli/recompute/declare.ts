/** `millrace recompute`: its arguments, options and examples. Called by `program.ts`. */
import { type Declare, jsonFileOption } from '../declare.ts'
import { instantOption, outputFileOption } from '../option-values.ts'

export function declareRecomputeCommand({ command, act }: Declare): void {
  command('recompute', 'Compute the features and predictions of history again from the raw topics, into a CSV file.', [
    'pipelines/card-fraud.ts --from 2018-05-01',
    'pipelines/card-fraud.ts --from 2018-05-01 --until 2018-06-01 --model v3 --out may.csv --json may.json',
  ])
    .requiredOption('--from <instant>', 'first event time that is computed again', instantOption)
    .option('--until <instant>', 'event time to stop before (default: the end of the topics)', instantOption)
    .option('--model <version>', 'version of the registry to score with (default: the champion)')
    .option('--out <file>', 'CSV file to write (default: <pipeline>.recomputed.csv)', outputFileOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./recompute.ts')).recomputeCommand(definition, options, context)),
    )
}
