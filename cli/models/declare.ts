/** `millrace models` and its subcommands: their arguments, options and examples. Called by `program.ts`. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Declare, definitionCommand, jsonFileOption, withExamples } from '../declare.ts'
import { outputFileOption, urlOption, wholeOption } from '../option-values.ts'

export function declareModelsCommands(declare: Declare): void {
  const models = withExamples(declare.program.command('models'), [
    'list pipelines/card-fraud.ts',
    'show pipelines/card-fraud.ts v3',
    'promote pipelines/card-fraud.ts v3',
    'rollback pipelines/card-fraud.ts',
    'diff pipelines/card-fraud.ts v2 v3',
  ]).description('List and compare model versions, and choose which of them scores.')
  declareList(models, declare)
  declareShow(models, declare)
  declarePromote(models, declare)
  declareDismiss(models, declare)
  declareRollback(models, declare)
  declareDiff(models, declare)
  declareImport(models, declare)
}

function declareList(models: Command, { act }: Declare): void {
  definitionCommand(
    models,
    'list',
    'List the newest versions: aliases, origin, figures, and their evaluation in production.',
    ['pipelines/card-fraud.ts', 'pipelines/card-fraud.ts --count 100 --json models.json'],
  )
    .option('--count <versions>', 'list at most this many', wholeOption(1, 10_000), 20)
    .option('--trainer <url>', 'HTTP address of the trainer, where it is not on this machine', urlOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      act(async (context) => (await import('./list.ts')).modelsListCommand(definition, options, context)),
    )
}

function declareShow(models: Command, { act }: Declare): void {
  definitionCommand(models, 'show', 'Show a version: lineage, weights, and its history with reasons.', [
    'pipelines/card-fraud.ts v3',
    'pipelines/card-fraud.ts v3 --out model.json',
  ])
    .argument('<version>', 'as listed', versionOption)
    .option('--out <file>', 'write the model to a file, for replay --model and models import', outputFileOption)
    .addOption(jsonFileOption())
    .action((definition, version, options) =>
      act(async (context) => (await import('./list.ts')).modelsShowCommand(definition, version, options, context)),
    )
}

function declarePromote(models: Command, { act }: Declare): void {
  definitionCommand(models, 'promote', 'Make a version the champion, or a challenger that scores in shadow.', [
    'pipelines/card-fraud.ts v3 --reason checked',
    'pipelines/card-fraud.ts v4 --as challenger',
    'pipelines/card-fraud.ts v5 --as challenger --replace v4',
  ])
    .argument('<version>', 'as listed; may be one that was rolled back', versionOption)
    .addOption(
      new Option('--as <alias>', 'role of the version').choices(['champion', 'challenger']).default('champion'),
    )
    .option('--keep-former', 'the former champion keeps scoring in shadow')
    .option('--replace <version>', 'challenger to replace, where all slots are taken', versionOption)
    .addOption(reasonOption())
    .action((definition, version, options) =>
      act(async (context) => (await import('./change.ts')).modelsPromoteCommand(definition, version, options, context)),
    )
}

function declareDismiss(models: Command, { act }: Declare): void {
  definitionCommand(models, 'dismiss', 'End the scoring of a challenger.', ['pipelines/card-fraud.ts v4'])
    .argument('<version>', 'as listed', versionOption)
    .addOption(reasonOption())
    .action((definition, version, options) =>
      act(async (context) => (await import('./change.ts')).modelsDismissCommand(definition, version, options, context)),
    )
}

function declareRollback(models: Command, { act }: Declare): void {
  definitionCommand(models, 'rollback', 'Roll back the champion: the one before it scores again.', [
    'pipelines/card-fraud.ts --reason "too many alerts since noon"',
  ])
    .addOption(reasonOption())
    .action((definition, options) =>
      act(async (context) => (await import('./change.ts')).modelsRollbackCommand(definition, options, context)),
    )
}

function declareDiff(models: Command, { act }: Declare): void {
  definitionCommand(models, 'diff', 'Compare two versions: figures, positions and weights.', [
    'pipelines/card-fraud.ts v2 v3',
  ])
    .argument('<version>', 'as listed', versionOption)
    .argument('<other>', 'as listed', versionOption)
    .addOption(jsonFileOption())
    .action((definition, version, other, options) =>
      act(async (context) =>
        (await import('./diff.ts')).modelsDiffCommand(definition, version, other, options, context),
      ),
    )
}

function declareImport(models: Command, { act }: Declare): void {
  definitionCommand(models, 'import', 'Publish the model of a file as a version; it scores once it is promoted.', [
    'pipelines/card-fraud.ts model.json',
    'pipelines/card-fraud.ts model.json --as challenger',
  ])
    .argument('<file>', 'written by train --out or models show --out')
    .addOption(new Option('--as <alias>', 'promote it as well').choices(['champion', 'challenger']))
    .addOption(reasonOption())
    .action((definition, file, options) =>
      act(async (context) => (await import('./change.ts')).modelsImportCommand(definition, file, options, context)),
    )
}

function reasonOption(): Option {
  return new Option('--reason <text>', 'kept in the registry with the change').default('by command')
}

function versionOption(text: string): string {
  if (!/\S/.test(text)) throw new InvalidArgumentError('Expected the name of a version, such as v3.')
  return text
}
