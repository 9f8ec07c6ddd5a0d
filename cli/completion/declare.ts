/** The commands with which a shell completes the others: their arguments and examples. Called by `program.ts`, last. */

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
        // A definition with mistakes has no names to offer; commands that run it report why.
        const plan = (definition: string) =>
          import('../load-plan.ts').then(({ loadPlan }) => loadPlan(definition, { namespace: '' })).catch(() => null)
        for (const line of completionLines(await complete(program, words, plan))) terminal.out(line)
        return exitCodes.done
      }),
    )
}
