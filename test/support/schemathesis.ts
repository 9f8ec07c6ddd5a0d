/** Where the command `st` of schemathesis is: on the PATH, or where `.ci/run` installs it. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const candidates = [
  'st',
  'schemathesis',
  fileURLToPath(new URL('../../.millrace/schemathesis/bin/st', import.meta.url)),
]

/** Null where there is none. */
export function findSchemathesis(): string | null {
  return candidates.find((path) => spawnSync(path, ['--version']).status === 0) ?? null
}
