/** The path of a definition file in, its plan out; every command that takes a definition calls it. */
import { existsSync } from 'node:fs'
import { resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { codeFolder, isCompiled } from '../runtime/package-folder.ts'
import type { Pipeline } from '../schemas/definition/definition.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { compile } from '../schemas/plan/compile.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import { refuseDoubledKeys } from './doubled-keys.ts'

/** Without `rawNamespace`, the raw topics are those of the namespace. */
export interface Namespaces {
  readonly namespace: string
  readonly rawNamespace?: string | null
}

/** Rejects with `usage` where there is no such file, with `definition_invalid` where it is no definition or one with mistakes. */
export async function loadPlan(path: string, { namespace, rawNamespace }: Namespaces): Promise<Plan> {
  const pipeline = await loadPipeline(path)
  return compile(pipeline, { namespace, rawNamespace: rawNamespace ?? namespace })
}

async function loadPipeline(path: string): Promise<Pipeline> {
  const absolute = resolve(path)
  if (!existsSync(absolute)) {
    throw new PipelineError(
      'usage',
      `There is no file ${path}: expected a definition, such as pipelines/card-fraud.ts.`,
    )
  }
  // What `npm run build` compiled was looked at there.
  if (!isCompiled || !absolute.startsWith(`${codeFolder}${sep}`)) await refuseDoubledKeys(path)
  let loaded: { readonly default?: unknown }
  try {
    loaded = await importModule(absolute)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new PipelineError('definition_invalid', `${path} cannot be loaded: ${reason}`, { cause })
  }
  if (isPipeline(loaded.default)) return loaded.default
  const received =
    loaded.default === undefined ? 'no default export' : `a default export of type ${typeof loaded.default}`
  throw new PipelineError(
    'definition_invalid',
    `${path}: expected \`export default definePipeline({ … })\`, received ${received}.`,
  )
}

/**
 * Also of mapping files. Compiled and on a Node that strips no types, tsx takes the file: in this thread, for a loader of its own costs
 * half a second.
 */
export async function importModule(path: string): Promise<{ readonly default?: unknown }> {
  const { href } = pathToFileURL(path)
  const stripsTypes = Boolean((process.features as { readonly typescript?: unknown }).typescript)
  const canImport = !isCompiled || stripsTypes || !/\.[cm]?ts$/.test(path)
  if (canImport) return import(href)
  try {
    return (await import('tsx/cjs/api')).require(path, import.meta.url)
  } catch (error) {
    // What awaits at its top level can only be imported.
    if (!/top-level await/i.test((error as Error).message)) throw error
    return (await import('tsx/esm/api')).tsImport(href, import.meta.url)
  }
}

function isPipeline(value: unknown): value is Pipeline {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'pipeline'
}
