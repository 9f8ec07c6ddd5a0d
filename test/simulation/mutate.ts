/** Simulates a mutation: a copy of the rooms that the loop needs, in a folder of its own, with one thing wrong in it. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Mutation } from './mutations.ts'
import { here, simulate } from './simulate.ts'

export interface MutationOutcome {
  readonly name: string
  readonly isHarmless: boolean
  /** Schedules until a violation was found, that one included; null where there was none. */
  readonly foundAfter: number | null
  readonly violation: string | null
}

const copied = [
  'schemas',
  'runtime',
  'feature-store',
  'processors',
  'testing',
  'test/simulation',
  'test/support',
  'package.json',
]

/** Stops at the first violation. */
export async function simulateMutation(mutation: Mutation, schedules: number, seed: number): Promise<MutationOutcome> {
  const root = fileURLToPath(here)
  const folder = mkdtempSync(join(tmpdir(), 'millrace-mutation-'))
  try {
    for (const name of copied) cpSync(join(root, name), join(folder, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    for (const { file, find, replace } of mutation.edits) {
      const text = readFileSync(join(folder, file), 'utf8')
      const times = text.split(find).length - 1
      if (times !== 1)
        throw new Error(`mutation "${mutation.name}": its text is ${times} times in ${file}, expected once`)
      writeFileSync(
        join(folder, file),
        text.replace(find, () => replace),
      )
    }
    let run = 0
    let violation: string | null = null
    await simulate({
      schedules,
      seed,
      processes: 1,
      root: pathToFileURL(`${folder}/`),
      onReport: ({ violations }) => {
        run++
        violation = violations[0] ?? null
        return violation === null
      },
    })
    return {
      name: mutation.name,
      isHarmless: mutation.isHarmless ?? false,
      foundAfter: violation === null ? null : run,
      violation,
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
