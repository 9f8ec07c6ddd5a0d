/**
 * The arguments of `millrace` in, its exit code out: has every command declared, runs the one that is called, and prints what goes wrong.
 * Called by `main.ts` and by tests. A command's own file is loaded when it is called, so that help is quick.
 */
import { Command, CommanderError } from 'commander'
import { systemClock } from '../runtime/clock.ts'
import { type Config, parseConfig } from '../runtime/config/config.ts'
import { declareCompletionCommands } from './completion/declare.ts'
import type { CommandContext } from './context.ts'
import { type Declare, definitionCommand } from './declare.ts'
import { declareCheckCommands } from './doctor/declare.ts'
import { exitCodeOf, exitCodes, failureText } from './failure-text.ts'
import { declareLookCommands } from './inspect/declare.ts'
import { declareModelsCommands } from './models/declare.ts'
import { createStopping, type ProcessEdge } from './process.ts'
import { declareProofCommands } from './proof/declare.ts'
import { declareRejectedCommands } from './rejected/declare.ts'
import { declareRunCommands } from './run/declare.ts'
import type { Terminal } from './terminal.ts'
import { declareWorkersCommands } from './workers/declare.ts'

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

/** Never rejects. */
export async function millrace(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { terminal } = surroundings
  const stopping = createStopping(surroundings.process, terminal)
  let exitCode: number = exitCodes.done

  const actAnyway: Declare['actAnyway'] = async (action) => {
    const openBroker = surroundings.openBroker ?? (await import('./context.ts')).openBroker
    const { environment, random, stdin, clock = systemClock } = surroundings
    exitCode = await action({ environment, terminal, clock, random, stopping, stdin, openBroker })
  }
  const act: Declare['act'] = async (action) => {
    const config: Config = parseConfig(surroundings.environment)
    await actAnyway((context) => action({ ...context, config }))
  }

  try {
    await declare({ act, actAnyway }, surroundings).parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has printed its own failures already.
    if (!(error instanceof CommanderError)) terminal.err(failureText(error))
    return exitCodeOf(error)
  } finally {
    stopping.dispose()
  }
}

function declare(
  acting: Pick<Declare, 'act' | 'actAnyway'>,
  { terminal, fetch: fetchIt = fetch }: Surroundings,
): Command {
  const program = new Command('millrace')
    .description('Real-time machine learning on Kafka and Redis, one definition file a pipeline.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
    .showHelpAfterError('Type millrace --help for the commands.')
  const declaring: Declare = {
    program,
    ...acting,
    command: (name, description, examples) => definitionCommand(program, name, description, examples),
    fetch: fetchIt,
  }
  declareRunCommands(declaring)
  declareCheckCommands(declaring)
  declareLookCommands(declaring)
  declareModelsCommands(declaring)
  declareRejectedCommands(declaring)
  declareWorkersCommands(declaring)
  declareProofCommands(declaring)
  declareCompletionCommands(declaring)
  return program
}
