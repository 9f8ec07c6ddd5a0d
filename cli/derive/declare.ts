/** The commands that write what a definition derives: their arguments, options and examples. Called by `program.ts`. */
import { Option } from 'commander'
import type { Declare } from '../declare.ts'
import { outputFileOption } from '../option-values.ts'

export function declareDeriveCommands(declare: Declare): void {
  declareOpenApi(declare)
  declareSchemas(declare)
}

function declareOpenApi({ command, act }: Declare): void {
  command('openapi', 'Print the OpenAPI 3.1 description of the HTTP API that the definition derives.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --out openapi.json',
  ])
    .option('--out <file>', 'write it to a file instead', outputFileOption)
    .action((definition, options) =>
      act(async (context) => (await import('./openapi.ts')).openApiCommand(definition, options, context)),
    )
}

function declareSchemas({ command, act }: Declare): void {
  command('schemas', 'List, check or write the schemas that the definition derives.', [
    'pipelines/card-fraud.ts --check',
    'pipelines/card-fraud.ts --write',
  ])
    .addOption(new Option('--check', 'fail when a file differs from the definition').conflicts('write'))
    .option('--write', 'write the files; fails where existing records could no longer be read')
    .option('--folder <folder>', 'folder with one subfolder per pipeline', 'schemas')
    .action((definition, options) =>
      act(async (context) => (await import('./schemas.ts')).schemasCommand(definition, options, context)),
    )
}
