/** `millrace schemas`: the Avro schemas that a definition derives, as files: listed, checked or written. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { writeWholeFile } from '../whole-file.ts'
import { compareSchemas, isSchemaFile, type SchemaComparison, schemaFiles } from './schema-files.ts'

export interface SchemasCommandOptions {
  /** Holds one folder a pipeline. */
  readonly folder: string
  readonly check?: boolean
  readonly write?: boolean
}

export async function schemasCommand(
  definition: string,
  options: SchemasCommandOptions,
  { terminal }: Pick<CommandContext, 'terminal'>,
): Promise<number> {
  // Schemas do not depend on the namespace.
  const plan = await loadPlan(definition, { namespace: '' })
  const folder = join(options.folder, plan.name)
  const wanted = schemaFiles(plan)
  const compared = compareSchemas(wanted, await presentSchemas(folder), plan.version)
  const changed = compared.filter(({ state }) => state !== 'fresh')

  if (options.write) {
    failOnBreaking(compared, folder, plan.version)
    await mkdir(folder, { recursive: true })
    for (const { name, state } of changed) {
      if (state === 'left over') await rm(join(folder, name))
      else await writeWholeFile(join(folder, name), wanted.find((file) => file.name === name)!.text)
      terminal.out(`${state === 'left over' ? 'removed' : 'written'}  ${join(folder, name)}`)
    }
    terminal.out(`${wanted.length} schemas in ${folder}, ${changed.length} changed.`)
    return exitCodes.done
  }

  for (const { name, state } of options.check ? changed : compared) terminal.out(`${state}  ${join(folder, name)}`)
  if (!options.check) return exitCodes.done
  if (changed.length === 0) {
    terminal.out(`${wanted.length} schemas in ${folder} are as the definition derives them.`)
    return exitCodes.done
  }
  terminal.err(`${changed.length} schemas differ. Type: millrace schemas ${definition} --write`)
  return exitCodes.failed
}

/** Texts by name of the schema files in a folder; none where there is no folder. */
export async function presentSchemas(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const schemas = names.filter(isSchemaFile).sort()
  return new Map(
    await Promise.all(schemas.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const)),
  )
}

function failOnBreaking(compared: readonly SchemaComparison[], folder: string, version: number): void {
  const breaking = compared.filter(({ breaks }) => breaks !== null)
  if (breaking.length === 0) return
  const lines = breaking.map(({ name, breaks }) => `  ${join(folder, name)}: ${breaks}`)
  throw new PipelineError(
    'definition_invalid',
    `Records already in Kafka could not be read with the changed schemas:\n${lines.join('\n')}\n` +
      `Revert the change, or raise the definition's version above ${version} and use a new namespace.`,
    { details: { breaking } },
  )
}
