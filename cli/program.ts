/**
 * The arguments of `millrace` in, its exit code out: declares every command with its options and examples, and prints what goes wrong.
 * Called by `main.ts` and by tests. A command's own file is loaded when it is called, so that help is quick.
 */
import { Command, CommanderError, Option } from 'commander'
import { systemClock } from '../runtime/clock.ts'
import { type Config, parseConfig } from '../runtime/config.ts'
import type { CommandContext } from './context.ts'
import { exitCodeOf, exitCodes, failureText } from './failure-text.ts'
import { instantOption, positiveOption, urlOption, wholeOption } from './option-values.ts'
import { createStopping, type ProcessEdge } from './process.ts'
import type { Terminal } from './terminal.ts'

/** What the process gives; tests give their own. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly terminal: Terminal
  readonly process: ProcessEdge
  readonly stdin: CommandContext['stdin']
  readonly random: () => number
  readonly clock?: CommandContext['clock']
  /** Instead of the broker that KAFKA_BROKERS names. */
  readonly openBroker?: CommandContext['openBroker']
  readonly fetch?: typeof fetch
}

type Action = (context: CommandContext) => Promise<number>
/** Runs an action with the context that only exists once the arguments are parsed. */
type Act = (action: Action) => Promise<void>

/** Never rejects. */
export async function millrace(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { terminal } = surroundings
  const stopping = createStopping(surroundings.process, terminal)
  let exitCode: number = exitCodes.done

  const act: Act = async (action) => {
    const config: Config = parseConfig(surroundings.environment)
    const openBroker = surroundings.openBroker ?? (await import('./context.ts')).openBroker
    const { random, stdin, clock = systemClock } = surroundings
    exitCode = await action({
      config,
      environment: surroundings.environment,
      terminal,
      clock,
      random,
      stopping,
      stdin,
      openBroker,
    })
  }

  try {
    await declare(act, surroundings).parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has printed its own failures already.
    if (!(error instanceof CommanderError)) terminal.err(failureText(error))
    return exitCodeOf(error)
  } finally {
    stopping.dispose()
  }
}

function declare(act: Act, { terminal, fetch: fetchIt = fetch }: Surroundings): Command {
  const program = new Command('millrace')
    .description('Real-time machine learning on Kafka and Redis, one definition file a pipeline.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
    .showHelpAfterError('Type millrace --help for the commands.')

  /** A command on one definition. Its examples are what the help ends with and a wrong call is answered with. */
  function command(name: string, description: string, examples: readonly string[]): Command {
    const listed = examples.map((example) => `  millrace ${name} ${example}`).join('\n')
    return program
      .command(name)
      .description(description)
      .argument('<definition>', 'file with the pipeline definition, such as pipelines/card-fraud.ts')
      .addHelpText('after', `\nExamples:\n${listed}`)
      .showHelpAfterError(`Type for example:\n${listed}\nmillrace ${name} --help shows all options.`)
  }

  program
    .command('start')
    .description(
      'Show a pipeline at work: servers, 45 days of events, a first model, then scored events at a steady pace.',
    )
    .argument('[definition]', 'file with the pipeline definition', 'pipelines/card-fraud.ts')
    .option('--resume', 'go on where the last start stopped, instead of beginning in a fresh namespace')
    .option('--days <days>', 'days of events to run flat out before the first model', wholeOption(15, 180), 45)
    .option('--events <count>', 'end after so many paced and scored events', wholeOption(1, 1_000_000_000))
    .option('--rate <events>', 'events a second of the paced part (500 unless told)', positiveOption)
    .addOption(
      new Option('--speed <factor>', 'pace by event time instead: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--seed <seed>', 'of the generated events; 0 is the published data set', wholeOption(0, 524_287))
    .option('--json <file>', 'write the figures of the paced part to a file as well')
    .addHelpText('after', `\nExamples:\n${startExamples}`)
    .showHelpAfterError(`Type for example:\n${startExamples}\nmillrace start --help shows all options.`)
    .action((definition, options) =>
      act(async (context) => (await import('./start.ts')).startCommand(definition, options, context)),
    )

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

  withSource(
    command('produce', 'Send events into the raw topics, flat out or paced.', [
      'pipelines/card-fraud.ts --source handbook --until 2018-04-08 --speed 3600',
      'pipelines/card-fraud.ts --source handbook --rate 2000',
      'pipelines/card-fraud.ts --source events.jsonl',
      'pipelines/card-fraud.ts --source stdin --stream transactions',
    ]),
  )
    .addOption(
      new Option('--speed <factor>', 'pace by event time: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--rate <events>', 'pace by rate: events a second', positiveOption)
    .option('--json <file>', 'write the figures to a file as well')
    .action((definition, options) =>
      act(async (context) => (await import('./produce.ts')).produceCommand(definition, options, context)),
    )

  command('train', 'Train a model on the logged predictions and their labels, and make it the champion.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --out model.json --rows-max 500000',
  ])
    .option('--out <file>', 'write the model to a file as well')
    .option(
      '--rows-max <rows>',
      'train on at most so many of the newest predictions whose label is due',
      wholeOption(1, 8_000_000),
    )
    .option('--json <file>', 'write the figures to a file as well')
    .action((definition, options) =>
      act(async (context) => (await import('./train.ts')).trainCommand(definition, options, context)),
    )

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
        return featuresCommand(definition, entity, keys, options, { ...context, fetch: fetchIt })
      }),
    )

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

  withSource(
    command('replay', 'Compute the vectors of a source without servers, into a CSV file.', [
      'pipelines/card-fraud.ts --source handbook --out features.csv',
      'pipelines/card-fraud.ts --source handbook --until 2018-05-01 --model model.json --out scores.csv',
    ]),
  )
    .requiredOption('--out <file>', 'CSV file to write')
    .option('--partitions <count>', 'partitions of the topics that are replayed', wholeOption(1, 1_024), 4)
    .option('--model <file>', 'score with a model that train --out wrote')
    .option('--json <file>', 'write the figures to a file as well')
    .action((definition, options) =>
      act(async (context) => (await import('./replay.ts')).replayCommand(definition, options, context)),
    )

  command(
    'verify',
    'Prove that live equals replay: the benchmark through Kafka and Redis, every vector compared bit for bit.',
    [
      'pipelines/card-fraud.ts --until 2018-06-02 --rate 8000',
      'pipelines/card-fraud.ts --until 2018-04-08 --json verify.json',
    ],
  )
    .requiredOption('--until <day>', 'event time that the stream ends before', instantOption)
    .addOption(
      new Option('--speed <factor>', 'pace by event time: event seconds a second')
        .argParser(positiveOption)
        .conflicts('rate'),
    )
    .option('--rate <events>', 'pace by rate: events a second; flat out unless told', positiveOption)
    .option('--seed <seed>', 'of the generated events; 0 is the published data set', wholeOption(0, 524_287))
    .option('--json <file>', 'write the figures to a file as well')
    .action((definition, options) =>
      act(async (context) => (await import('./verify.ts')).verifyCommand(definition, options, context)),
    )

  command('schemas', 'List, check or write the Avro schemas that the definition derives.', [
    'pipelines/card-fraud.ts --check',
    'pipelines/card-fraud.ts --write',
  ])
    .addOption(new Option('--check', 'fail when a file differs from the definition').conflicts('write'))
    .option('--write', 'write the files; refused where old records could not be read any more')
    .option('--folder <folder>', 'folder that holds one folder a pipeline', 'schemas')
    .action((definition, options) =>
      act(async (context) => (await import('./schemas.ts')).schemasCommand(definition, options, context)),
    )

  return program
}

const startExamples = [
  '  npm start',
  '  npm start -- --events 50000 --json figures.json',
  '  npm start -- --resume --rate 2000',
].join('\n')

function withSource(command: Command): Command {
  return command
    .requiredOption('--source <source>', 'handbook (generated), stdin, or a file with JSON lines')
    .option('--from <day>', 'first event time of a generated source', instantOption)
    .option('--until <day>', 'event time that a generated source ends before', instantOption)
    .option('--seed <seed>', 'of a generated source; 0 is the published data set', wholeOption(0, 524_287))
    .option('--stream <name>', 'stream of every line, where the lines do not name their own')
}
