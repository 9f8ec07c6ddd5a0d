/** `millrace plan`: its arguments, options and examples. Called by `program.ts`. */
import { type Declare, jsonFileOption } from '../declare.ts'

export function declarePlanCommand({ command, act }: Declare): void {
  command('plan', 'Print what a changed definition would do to features, state, champion and topics; change nothing.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --json plan.json',
  ])
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./plan.ts')).planCommand(definition, options, context)),
    )
}
