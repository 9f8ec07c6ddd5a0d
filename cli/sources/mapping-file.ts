/** The paths of mapping files in, their mappings out; called by `open-source.ts`. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Mapping } from '../../schemas/definition/definition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { importModule } from '../load-plan.ts'

export interface LoadedMapping {
  readonly mapping: Mapping
  /** Of the file: another mapping makes other events. What it imports is not looked at. */
  readonly digest: string
}

/** Rejects with `usage` for a file that is none, and for two mappings of one stream. */
export async function loadMappings(
  paths: readonly string[],
  { name, streams }: Pick<Plan, 'name' | 'streams'>,
): Promise<LoadedMapping[]> {
  const loaded: LoadedMapping[] = []
  for (const path of paths) {
    const one = await loadMapping(path)
    const { stream, fields } = one.mapping
    const target = streams.find((candidate) => candidate.name === stream)
    if (target === undefined) throw usage(path, `${name} has no stream ${stream}`)
    const unknown = Object.keys(fields).find((field) => !target.fields.some((known) => known.name === field))
    if (unknown !== undefined) throw usage(path, `the stream ${stream} has no field ${unknown}`)
    if (loaded.some(({ mapping }) => mapping.stream === stream))
      throw usage(path, `another file maps ${stream} already`)
    loaded.push(one)
  }
  return loaded
}

async function loadMapping(path: string): Promise<LoadedMapping> {
  const absolute = resolve(path)
  try {
    const text = await readFile(absolute)
    const found = (await importModule(absolute)).default
    if (isMapping(found))
      return { mapping: found, digest: createHash('sha256').update(text).digest('hex').slice(0, 16) }
  } catch (cause) {
    throw usage(path, (cause as Error).message, cause)
  }
  throw usage(path, 'expected `export default defineMapping(stream, { fields: { … } })`')
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'mapping'
}

function usage(path: string, reason: string, cause?: unknown): PipelineError {
  return new PipelineError('usage', `--mapping ${path} cannot be used: ${reason}.`, { cause })
}
