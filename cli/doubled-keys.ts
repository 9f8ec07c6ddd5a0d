/**
 * The path of a definition file in, every key that is written twice in one object literal out; called before a definition is loaded. A
 * compiler would say so, but a definition also runs without one, and then the first of two features of one name would be gone in silence.
 */
import { readFileSync } from 'node:fs'
import type { BuildOptions, Message } from 'esbuild'
import { PipelineError } from '../schemas/kernel/errors.ts'

const doubled = 'duplicate-object-key'

/** Throws `definition_invalid` that names file, line and key of each, also in files that the definition imports, packages left out. */
export async function refuseDoubledKeys(path: string): Promise<void> {
  const messages = await warningsOf(path)
  const found = messages.filter(({ id }) => id === doubled).map(describe)
  if (found.length === 0) return
  const count = found.length === 1 ? 'a key' : `${found.length} keys`
  throw new PipelineError(
    'definition_invalid',
    `${path} has ${count} twice, of which only the last would count:\n${found.map((line) => `  ${line}`).join('\n')}`,
    { details: { doubled: found } },
  )
}

async function warningsOf(path: string): Promise<readonly Message[]> {
  const { buildSync, transformSync } = await import('esbuild')
  const options: BuildOptions = { logLevel: 'silent', platform: 'node', format: 'esm', write: false }
  try {
    // What stands in a package is its maker's, and is left out.
    return buildSync({ ...options, entryPoints: [path], bundle: true, packages: 'external' }).warnings
  } catch (cause) {
    if (!isBuildFailure(cause)) throw cause
    // With an import that only the loader resolves, the file itself is looked at all the same.
    try {
      const { warnings } = transformSync(readFileSync(path, 'utf8'), {
        loader: 'ts',
        logLevel: 'silent',
        sourcefile: path,
      })
      return warnings
    } catch (unparsed) {
      if (!isBuildFailure(unparsed)) throw unparsed
      const [first] = unparsed.errors
      throw new PipelineError('definition_invalid', `${path} cannot be parsed: ${first ? describe(first) : unparsed}`, {
        cause: unparsed,
      })
    }
  }
}

function isBuildFailure(error: unknown): error is Error & { readonly errors: readonly Message[] } {
  return error instanceof Error && Array.isArray((error as { errors?: unknown }).errors)
}

/** `file:line:column: sentence`. */
function describe({ location, text, notes }: Message): string {
  const where = location === null ? '' : `${location.file}:${location.line}:${location.column + 1}: `
  const before = notes.find((note) => note.location !== null)?.location
  return `${where}${text}${before ? `, first in line ${before.line}` : ''}`
}
