/** The commands that train models and show what they are trained on: their arguments, options and examples. Called by `program.ts`. */
import { type Declare, jsonFileOption } from '../declare.ts'
import { outputFileOption, wholeOption } from '../option-values.ts'

export function declareLearnCommands(declare: Declare): void {
  declareTrain(declare)
  declareTrainer(declare)
  declareData(declare)
}

function declareTrain({ command, act }: Declare): void {
  command('train', 'Train a model on the logged predictions and their labels, and make it the champion.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --out model.json --rows-max 500000',
  ])
    .option('--out <file>', 'write the model to a file as well', outputFileOption)
    .option(
      '--rows-max <rows>',
      'train on at most so many of the newest predictions whose label is due',
      wholeOption(1, 8_000_000),
    )
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./train.ts')).trainCommand(definition, options, context)),
    )
}

function declareTrainer({ command, act }: Declare): void {
  command('trainer', 'Learn from a running pipeline: labels as they ripen, evaluation, retraining, promotion.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --file card-fraud.duckdb',
    'pipelines/card-fraud.ts --rebuild',
  ])
    .option('--file <file>', 'training store; in the folder of MILLRACE_FOLDER unless told', outputFileOption)
    .option('--rebuild', 'throw a training store of another definition or cluster away and read the logs anew')
    .option('--seed <seed>', 'of what is drawn while learning; recorded with every version', wholeOption(0, 2 ** 31), 0)
    .action((definition, options) =>
      act(async (context) => (await import('./trainer.ts')).trainerCommand(definition, options, context)),
    )
}

function declareData({ command, act }: Declare): void {
  command('data', "Profile a pipeline's training set: counts, label rate by day, every feature; Parquet out and in.", [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --html training-set.html --export training-set.parquet',
    'pipelines/card-fraud.ts --import training-set.parquet',
  ])
    .option('--store <file>', "instead of the trainer's store or, while that runs, its last snapshot")
    .option('--export <file>', 'write the ripe rows to a Parquet file', outputFileOption)
    .option('--import <file>', "add the rows of such a file to the trainer's store; not while the trainer runs")
    .option('--html <file>', 'write the profile as a page, too', outputFileOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./data.ts')).dataCommand(definition, options, context)),
    )
}
