/** The commands with which a shell completes the others: their arguments and examples. Called by `program.ts`, last. */

import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type Declare, withExamples } from '../declare.ts'
import { exitCodes } from '../failure-text.ts'
import type { Shell } from './completion.ts'

/** Written out, so that help loads nothing; the table of scripts is checked against it when it compiles. */
const shells = ['bash', 'zsh', 'fish'] as const satisfies readonly Shell[]

export function declareCompletionCommands({ program, actAnyway }: Declare): void {
  const completion = withExamples(program.command('completion'), ['bash', 'zsh', 'fish'])
  completion
    .description('Print the shell completion script for commands, options, streams and entities.')
    .addArgument(completion.createArgument('<shell>', 'shell of the script').choices(shells))
    .action((shell) =>
      actAnyway(async ({ terminal }) => {
        const { completionCommand } = await import('./completion.ts')
        completionCommand(shell, terminal)
        return exitCodes.done
      }),
    )

  program
    .command('complete', { hidden: true })
    .description('What may come next on a command line: called by the scripts of millrace completion.')
    .argument('[words...]')
    .action((words: readonly string[]) =>
      actAnyway(async ({ terminal }) => {
        const { complete, completionLines } = await import('./complete.ts')
        for (const line of completionLines(await complete(program, words, findPlan))) terminal.out(line)
        return exitCodes.done
      }),
    )
}

/** A definition that is not there or has mistakes has no names to offer; commands that run it report why. */
async function findPlan(definition: string): Promise<Plan | null> {
  const { loadPlan } = await import('../load-plan.ts')
  try {
    return await loadPlan(definition, { namespace: '' })
  } catch (error) {
    if (error instanceof PipelineError && (error.code === 'definition_invalid' || error.code === 'usage')) return null
    throw error
  }
}
