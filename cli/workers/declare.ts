/** `millrace workers` and its two subcommands: their arguments, options and examples. Called by `program.ts`. */
import { type Command, InvalidArgumentError } from 'commander'
import { type Declare, definitionCommand, jsonFileOption, withExamples } from '../declare.ts'

export function declareWorkersCommands(declare: Declare): void {
  const workers = withExamples(declare.program.command('workers'), [
    'list pipelines/card-fraud.ts',
    'remove pipelines/card-fraud.ts worker-2',
  ]).description(
    'List the processes of a pipeline, and remove one that is gone so that the others take over its tasks.',
  )
  declareList(workers, declare)
  declareRemove(workers, declare)
}

function declareList(workers: Command, { act }: Declare): void {
  definitionCommand(workers, 'list', 'List the processes in the consumer group with their tasks.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --json workers.json',
  ])
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./workers.ts')).workersListCommand(definition, options, context)),
    )
}

function declareRemove(workers: Command, { act }: Declare): void {
  definitionCommand(
    workers,
    'remove',
    'Remove a process that will not return from the group: the others take over its tasks now, not when its session expires.',
    ['pipelines/card-fraud.ts worker-2'],
  )
    .argument('<worker>', 'its MILLRACE_WORKER, as listed', workerOption)
    .addOption(jsonFileOption())
    .action((definition, worker, options) =>
      act(async (context) => (await import('./workers.ts')).workersRemoveCommand(definition, worker, options, context)),
    )
}

function workerOption(text: string): string {
  if (!/\S/.test(text)) throw new InvalidArgumentError('Expected the name of a worker, such as worker-2.')
  return text
}
