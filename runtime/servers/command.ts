/**
 * Runs a short command to its end: its exit code and output go out; called to read versions and to run Maven, pip and
 * Kafka's storage tool.
 */

import { spawn } from 'node:child_process'

export interface CommandOptions {
  readonly environment: NodeJS.ProcessEnv
  readonly timeoutMs: number
  readonly cwd?: string
  /** How much of the end of the output is kept; 64 Ki where it is missing. */
  readonly outputCharactersMax?: number
}

/**
 * `missing`: there is no such program. `exitCode` is null where a signal or the time limit ended it; `output` is the
 * end of stdout and stderr.
 */
export type CommandResult =
  | { readonly missing: true }
  | { readonly missing: false; readonly exitCode: number | null; readonly timedOut: boolean; readonly output: string }

/** Never rejects for what the command does. */
export function runCommand(file: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  const { outputCharactersMax = 65_536 } = options
  return new Promise((resolve, reject) => {
    let output = ''
    let timedOut = false
    const child = spawn(file, args, {
      env: options.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, options.timeoutMs)
    const keep = (chunk: Buffer): void => {
      output = (output + chunk.toString('utf8')).slice(-outputCharactersMax)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      if (error.code === 'ENOENT' || error.code === 'EACCES') resolve({ missing: true })
      else reject(error)
    })
    child.on('close', (exitCode) => {
      clearTimeout(timer)
      resolve({ missing: false, exitCode, timedOut, output })
    })
  })
}

/** The last lines of an output or a log, indented to follow a sentence. */
export function lastLines(text: string, linesMax: number): string {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '')
  return lines.length === 0
    ? '  (nothing was written)'
    : lines
        .slice(-linesMax)
        .map((line) => `  ${line}`)
        .join('\n')
}
