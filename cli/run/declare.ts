/** The commands that run a pipeline and feed it: their arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { type Declare, jsonFileOption, withSource } from '../declare.ts'
import { outputFileOption, positiveOption, wholeOption } from '../option-values.ts'

export function declareRunCommands(declare: Declare): void {
  declareStart(declare)
  declareRun(declare)
  declareProduce(declare)
  declareTrain(declare)
  declareTrainer(declare)
  declareData(declare)
}

const startExamples = [
  '  npm start',
  '  npm start -- --events 50000 --json figures.json',
  '  npm start -- --resume --rate 2000',
  '  npm start -- --embedded',
].join('\n')

function declareStart({ program, act }: Declare): void {
  program
    .command('start')
    .description(
      'Show a pipeline at work: servers, 45 days of events, a first model, then scored events at a steady pace.',
    )
    .argument('[definition]', 'file with the pipeline definition', 'pipelines/card-fraud.ts')
    .option('--resume', 'go on where the last start stopped, instead of beginning in a fresh namespace')
    .option('--embedded', 'without servers: broker and store are the memory of this process, and nothing is kept')
    .option('--days <days>', 'days of events to run flat out before the first model', wholeOption(15, 180), 45)
    .option('--events <count>', 'end after so many paced and scored events', wholeOption(1, 1_000_000_000))
    .option('--rate <events>', 'events a second of the paced part (500 unless told)', positiveOption)
    .addOption(
      new Option('--speed <factor>', 'pace by event time instead: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--seed <seed>', 'of the generated events; 0 is the published data set', wholeOption(0, 524_287))
    .option('--json <file>', 'write the figures of the paced part to a file as well', outputFileOption)
    .addHelpText('after', `\nExamples:\n${startExamples}`)
    .showHelpAfterError(`Type for example:\n${startExamples}\nmillrace start --help shows all options.`)
    .action((definition, options) =>
      act(async (context) => (await import('../start/start.ts')).startCommand(definition, options, context)),
    )
}

function declareRun({ command, act }: Declare): void {
  command('run', 'Run a pipeline in production: features, scores, HTTP.', [
    'pipelines/card-fraud.ts --create-topics',
    'pipelines/card-fraud.ts --rebuild',
    'pipelines/card-fraud.ts --local --create-topics',
  ])
    .option('--create-topics', 'create the topics that are missing')
    .option('--rebuild', 'throw the stored features away and fold them anew from Kafka')
    .option('--local', 'start servers on this machine where KAFKA_BROKERS or REDIS_URL is not set')
    .action((definition, options) =>
      act(async (context) => (await import('./run.ts')).runCommand(definition, options, context)),
    )
}

function declareProduce({ command, act }: Declare): void {
  withSource(
    command('produce', 'Send events into the raw topics, flat out or paced.', [
      'pipelines/card-fraud.ts --source handbook --until 2018-04-08 --speed 3600',
      'pipelines/card-fraud.ts --source handbook --rate 2000',
      'pipelines/card-fraud.ts --source events.jsonl --resume',
      'pipelines/card-fraud.ts --source tx.csv --stream transactions --map txId=TX_ID,customerId=CUSTOMER',
      'pipelines/card-fraud.ts --source stdin --stream transactions',
    ]),
  )
    .addOption(
      new Option('--speed <factor>', 'pace by event time: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--rate <events>', 'pace by rate: events a second', positiveOption)
    .option(
      '--resume',
      'go on where the last run of the same source stopped; Kafka keeps the position for its offsets.retention (7 days)',
    )
    .option('--rejected <file>', 'write the rows that are not sent, to repair and send again', outputFileOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('../produce/produce.ts')).produceCommand(definition, options, context)),
    )
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
      act(async (context) => (await import('../learn/train.ts')).trainCommand(definition, options, context)),
    )
}

function declareTrainer({ command, act }: Declare): void {
  command('trainer', 'Learn from a running pipeline: labels as they mature, evaluation, retraining, promotion.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --file card-fraud.duckdb',
    'pipelines/card-fraud.ts --rebuild',
  ])
    .option('--file <file>', 'training store; in the folder of MILLRACE_FOLDER unless told', outputFileOption)
    .option('--rebuild', 'throw a training store of another definition or cluster away and read the logs anew')
    .option('--seed <seed>', 'of what is drawn while learning; recorded with every version', wholeOption(0, 2 ** 31), 0)
    .action((definition, options) =>
      act(async (context) => (await import('../learn/trainer.ts')).trainerCommand(definition, options, context)),
    )
}

function declareData({ command, act }: Declare): void {
  command('data', "Profile a pipeline's training set: counts, label rate by day, every feature; Parquet out and in.", [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --html training-set.html --export training-set.parquet',
    'pipelines/card-fraud.ts --import training-set.parquet',
  ])
    .option('--store <file>', "instead of the trainer's store or, while that runs, its last snapshot")
    .option('--export <file>', 'write the mature rows to a Parquet file', outputFileOption)
    .option('--import <file>', "add the rows of such a file to the trainer's store; not while the trainer runs")
    .option('--html <file>', 'write the profile as a page, too', outputFileOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('../learn/data.ts')).dataCommand(definition, options, context)),
    )
}
