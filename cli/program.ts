/**
 * The arguments of `millrace` in, its exit code out: declares every command, runs the one that is called and prints what fails. Called by
 * `main.ts` and by tests. A command's own file is loaded when the command runs, so that help is quick.
 */
import { Command, CommanderError } from 'commander'
import { systemClock } from '../runtime/clock.ts'
import { parseConfig } from '../runtime/config/config.ts'
import { besideRunningServers } from './beside-running-servers.ts'
import { declareCompletionCommands } from './completion/declare.ts'
import type { CommandContext } from './context.ts'
import { type Declare, definitionCommand } from './declare.ts'
import { declareDeriveCommands } from './derive/declare.ts'
import { declareDoctorCommand } from './doctor/declare.ts'
import { exitCodeOf, exitCodes, failureText } from './failure-text.ts'
import { declareInspectCommands } from './inspect/declare.ts'
import { declareLearnCommands } from './learn/declare.ts'
import { declareModelsCommands } from './models/declare.ts'
import { declarePlanCommand } from './plan/declare.ts'
import { declareProduceCommand } from './produce/declare.ts'
import { declareProofCommands } from './proof/declare.ts'
import { declareRecomputeCommand } from './recompute/declare.ts'
import { declareRejectedCommands } from './rejected/declare.ts'
import { declareRunCommand } from './run/declare.ts'
import { createStopping, type ProcessEdge } from './signals.ts'
import { declareStartCommand } from './start/declare.ts'
import { declareTailCommand } from './tail/declare.ts'
import type { Terminal } from './terminal.ts'
import { declareTopicsCommand } from './topics/declare.ts'
import { declareWorkersCommands } from './workers/declare.ts'

/** What `main.ts` takes from its process; tests pass their own. */
export interface ProgramDependencies {
  /** Environment variables. */
  readonly env: Readonly<Record<string, string | undefined>>
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
export async function millrace(args: readonly string[], dependencies: ProgramDependencies): Promise<number> {
  const { terminal } = dependencies
  const stopping = createStopping(dependencies.process, terminal)
  let exitCode: number = exitCodes.done

  const actAnyway: Declare['actAnyway'] = async (action) => {
    const openBroker = dependencies.openBroker ?? (await import('./context.ts')).openBroker
    const { env, random, stdin, clock = systemClock } = dependencies
    exitCode = await action({ env, terminal, clock, random, stopping, stdin, openBroker })
  }
  const act: Declare['act'] = async (action, { startsServers = false } = {}) => {
    const own = parseConfig(dependencies.env)
    const { config, note } = startsServers ? { config: own, note: null } : besideRunningServers(own)
    await actAnyway((context) => action({ ...context, config, openBroker: noting(note, context) }))
  }

  try {
    await declare({ act, actAnyway }, dependencies).parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has printed its own failures already.
    if (!(error instanceof CommanderError)) terminal.err(failureText(error))
    return exitCodeOf(error)
  } finally {
    stopping.dispose()
  }
}

/** Says once, when they are used, where the servers come from. */
function noting(
  note: string | null,
  { openBroker, terminal }: Omit<CommandContext, 'config'>,
): CommandContext['openBroker'] {
  let isTold = note === null
  return (config) => {
    if (!isTold) terminal.err(note!)
    isTold = true
    return openBroker(config)
  }
}

function declare(
  acting: Pick<Declare, 'act' | 'actAnyway'>,
  { terminal, fetch: fetchIt = fetch }: ProgramDependencies,
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
  declareStartCommand(declaring)
  declareRunCommand(declaring)
  declareProduceCommand(declaring)
  declareLearnCommands(declaring)
  declareDoctorCommand(declaring)
  declareTopicsCommand(declaring)
  declarePlanCommand(declaring)
  declareInspectCommands(declaring)
  declareTailCommand(declaring)
  declareDeriveCommands(declaring)
  declareModelsCommands(declaring)
  declareRejectedCommands(declaring)
  declareWorkersCommands(declaring)
  declareRecomputeCommand(declaring)
  declareProofCommands(declaring)
  declareCompletionCommands(declaring)
  return program
}
