/** Calls `millrace` inside the test's process, with what it prints kept: for the tests of the commands. */
import { EventEmitter } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { onTestFinished } from 'vitest'
import { millrace, type ProgramDependencies } from '../../cli/program.ts'

export interface Called {
  readonly code: number
  readonly out: string[]
  readonly err: string[]
}

export interface CallOptions extends Partial<Omit<ProgramDependencies, 'terminal' | 'stdin' | 'process'>> {
  readonly stdin?: string
  /** Called with each printed line and the fake process, to which signals can be emitted. */
  readonly onLine?: (line: string, process: EventEmitter) => void
  /** Called when the command begins to read its standard input. */
  readonly onStdin?: (process: EventEmitter) => void
  /** Gets the codes with which the process was ended at once. */
  readonly exits?: number[]
}

export async function call(args: readonly string[], options: CallOptions = {}): Promise<Called> {
  const { stdin = '', onLine, onStdin, exits = [], ...more } = options
  const process = Object.assign(new EventEmitter(), { exit: (code: number) => void exits.push(code) })
  const out: string[] = []
  const err: string[] = []
  const keep = (lines: string[]) => (line: string) => {
    lines.push(...line.split('\n'))
    onLine?.(line, process)
  }
  const code = await millrace(args, {
    env: {},
    terminal: { out: keep(out), err: keep(err) },
    process,
    stdin: () => {
      onStdin?.(process)
      return Readable.from([Buffer.from(stdin)])
    },
    random: () => 0.5,
    ...more,
  })
  return { code, out, err }
}

/** A new folder that is removed when the test is over. */
export async function scratchFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-test-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  return folder
}
