/** `millrace produce`: its arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import { type Declare, jsonFileOption, withSource } from '../declare.ts'
import { outputFileOption, positiveOption } from '../option-values.ts'

export function declareProduceCommand({ command, act }: Declare): void {
  withSource(
    command('produce', 'Send events into the raw topics, at full speed or paced.', [
      'pipelines/card-fraud.ts --source handbook --until 2018-04-08 --speed 3600',
      'pipelines/card-fraud.ts --source handbook --rate 2000',
      'pipelines/card-fraud.ts --source events.jsonl --resume',
      'pipelines/card-fraud.ts --source tx.csv --stream transactions --map txId=TX_ID,customerId=CUSTOMER',
      'pipelines/card-fraud.ts --source transactions=tx.csv --source chargebacks=cb.parquet --sort --resume',
      'pipelines/card-fraud.ts --source transactions=tx.csv --zone Europe/Berlin --missing common --dry-run',
      'pipelines/card-fraud.ts --source stdin --stream transactions',
    ]),
  )
    .addOption(
      new Option('--speed <factor>', 'pace by event time: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--rate <events>', 'pace by rate: events a second', positiveOption)
    .addOption(
      new Option('--unsorted', 'send rows that are not in the order of event time as they are').conflicts('sort'),
    )
    .option(
      '--resume',
      'continue where the last run of the same source stopped; Kafka keeps the position for offsets.retention.minutes (7 days)',
    )
    .option(
      '--rejected <file>',
      'write the rows that are not sent to a file, for repair and another run',
      outputFileOption,
    )
    .option(
      '--dry-run',
      'show the first rows as events and all that would be refused; nothing is sent, no server is needed',
    )
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./produce.ts')).produceCommand(definition, options, context)),
    )
}
