/** `millrace topics`: its arguments, options and examples. Called by `program.ts`. */
import { type Declare, jsonFileOption } from '../declare.ts'

export function declareTopicsCommand({ command, act }: Declare): void {
  command('topics', 'List the topics of a pipeline, what is missing or wrong, and the commands that fix it.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --create --json topics.json',
    'pipelines/card-fraud.ts --alter',
    'pipelines/card-fraud.ts --alter --local',
  ])
    .option('--create', 'create those that are missing')
    .option('--alter', 'change the settings that are wrong, and add partitions to topics that are empty')
    .option('--local', 'start the servers that run --local has started before, where none run')
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./list.ts')).topicsCommand(definition, options, context)),
    )
}
