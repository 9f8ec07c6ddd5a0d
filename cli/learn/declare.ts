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
    'pipelines/card-fraud.ts --vectors card-fraud.recomputed.csv',
  ])
    .option('--out <file>', 'write the model to a file as well', outputFileOption)
    .option(
      '--rows-max <rows>',
      'train on at most this many of the newest predictions with a mature label',
      wholeOption(1, 8_000_000),
    )
    .option('--vectors <file>', 'train on the vectors that recompute wrote, in place of those of the predictions')
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./train.ts')).trainCommand(definition, options, context)),
    )
}

function declareTrainer({ command, act }: Declare): void {
  command('trainer', 'Train on a running pipeline: labels as they mature, evaluation, retraining, promotion.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --file card-fraud.duckdb',
    'pipelines/card-fraud.ts --rebuild',
  ])
    .option('--file <file>', 'training store (default: in MILLRACE_FOLDER)', outputFileOption)
    .option(
      '--rebuild',
      'discard the training store, such as one of another definition or cluster, and rebuild it from Kafka',
    )
    .option('--seed <seed>', 'random seed of training; recorded with every version', wholeOption(0, 2 ** 31), 0)
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
    .option('--store <file>', "training store to read (default: the trainer's, or its last snapshot while it runs)")
    .option('--export <file>', 'write the rows with a mature label to a Parquet file', outputFileOption)
    .option('--import <file>', "add the rows of such a file to the trainer's store; not while the trainer runs")
    .option('--html <file>', 'write the profile as an HTML page as well', outputFileOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./data.ts')).dataCommand(definition, options, context)),
    )
}
