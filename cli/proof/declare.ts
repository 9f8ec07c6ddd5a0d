/** The commands that prove a definition without running it in production: their arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { lineNames } from '../../online-model/backtest/protocol.ts'
import { type Declare, jsonFileOption, withOwnSource, withSource, withWholeSource } from '../declare.ts'
import {
  dayOption,
  instantOption,
  outputFileOption,
  positiveOption,
  shareOption,
  wholeOption,
} from '../option-values.ts'

export function declareProofCommands(declare: Declare): void {
  declareReplay(declare)
  declareBacktest(declare)
  declareVerify(declare)
  declareAudit(declare)
}

function declareReplay({ command, act }: Declare): void {
  withSource(
    command('replay', 'Compute the vectors of a source without servers, into a CSV file.', [
      'pipelines/card-fraud.ts --source handbook --out features.csv',
      'pipelines/card-fraud.ts --source handbook --until 2018-05-01 --model model.json --out scores.csv',
      'pipelines/card-fraud.ts --source transactions=tx.csv --source chargebacks=cb.csv --sort --out features.csv',
    ]),
  )
    .requiredOption('--out <file>', 'CSV file to write', outputFileOption)
    .option('--partitions <count>', 'partitions of the replayed topics', wholeOption(1, 1_024), 4)
    .option('--model <file>', 'score with a model that train --out wrote')
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./replay.ts')).replayCommand(definition, options, context)),
    )
}

function declareBacktest({ command, act }: Declare): void {
  withWholeSource(
    command('backtest', 'Replay a source without servers, train on its late labels, and measure a week of scores.', [
      'pipelines/card-fraud.ts --source handbook',
      'pipelines/card-fraud.ts --source handbook --test-from 2018-08-15 --json backtest.json',
      'pipelines/card-fraud.ts --source events.jsonl --test-from 2026-03-02',
    ]),
  )
    .option('--test-from <day>', 'first day of the test week (default for the handbook: 2018-08-08)', dayOption)
    .addOption(new Option('--lines <name...>', 'compute only these lines of the table').choices(lineNames))
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./backtest.ts')).backtestCommand(definition, options, context)),
    )
}

function declareVerify({ command, act }: Declare): void {
  const verify = command(
    'verify',
    'Prove that live equals replay: a stream through Kafka and Redis, every vector compared bit for bit.',
    [
      'pipelines/card-fraud.ts --until 2018-06-02 --rate 8000',
      'pipelines/card-fraud.ts --until 2018-04-08 --processes 2 --json verify.json',
      'pipelines/card-fraud.ts --until 2018-04-08 --embedded',
      'pipelines/card-fraud.ts --source transactions=tx.csv --source chargebacks=cb.csv --sort',
    ],
  )
  withOwnSource(verify)
    .option('--embedded', 'without servers: through the memory of this process instead of Kafka and Redis')
    .option('--until <day>', 'end of the stream (exclusive), event time; required for the benchmark', instantOption)
    .addOption(
      new Option('--speed <factor>', 'pace by event time: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--rate <events>', 'pace by rate: events a second (default: full speed)', positiveOption)
    .addOption(
      new Option('--processes <count>', 'number of production processes')
        .argParser(wholeOption(1, 64))
        .default(1)
        .conflicts('embedded'),
    )
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./verify.ts')).verifyCommand(definition, options, context), {
        startsServers: true,
      }),
    )
}

function declareAudit({ command, act }: Declare): void {
  command(
    'audit',
    'Follow a pipeline, recompute a sample of its vectors and scores from its inputs and its raw topics, and compare.',
    ['pipelines/card-fraud.ts', 'pipelines/card-fraud.ts --sample 1 --once --json audit.json'],
  )
    .option('--sample <share>', 'share of the entities of each stage, above 0 and up to 1', shareOption, 0.01)
    .option(
      '--once',
      'stop when all records present now are compared; the exit code is 1 where an output differs from its inputs, or from the replay without explanation',
    )
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./audit.ts')).auditCommand(definition, options, context)),
    )
}
