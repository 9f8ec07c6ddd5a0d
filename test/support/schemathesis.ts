/** Where the command `st` of schemathesis is: on the PATH, or where `.ci/run` installs it. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const places = ['st', 'schemathesis', fileURLToPath(new URL('../../.millrace/schemathesis/bin/st', import.meta.url))]

/** Null where there is none. */
export function findSchemathesis(): string | null {
  return places.find((place) => spawnSync(place, ['--version']).status === 0) ?? null
}
