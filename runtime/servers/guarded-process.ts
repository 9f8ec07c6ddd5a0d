/** Starts a server that ends with this process, even when this is killed with SIGKILL; called by `start-server.ts`. */

import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'

export interface GuardedOptions {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly environment: NodeJS.ProcessEnv
  /** Emptied at the start; gets stdout and stderr. */
  readonly logPath: string
  /** Gets the process group's id, for `leftovers.ts`; the caller removes it. */
  readonly groupPath: string
  /** How long the server may take between SIGTERM and SIGKILL. */
  readonly stopGraceMs: number
}

export interface GuardedProcess {
  /** Resolves with the exit code or signal once the server has ended; never rejects. */
  readonly ended: Promise<string>
  /** SIGTERM, then SIGKILL after `stopGraceMs`; resolves when the server has ended. */
  stop(): Promise<void>
  /** Lets this process end by itself while the server runs; the server then ends with it. */
  release(): void
}

/**
 * A shell as the leader of a process group of its own, so that Ctrl-C reaches this process and not the server. Its
 * stdin is a pipe that only this process holds: it closes when this process stops the server or dies, and then the shell
 * stops the server. It needs nothing but a POSIX shell.
 */
const guardScript = `
exec 3<&0 </dev/null
tenths=$1
shift
"$@" 3<&- &
server=$!
{
  while read -r line; do :; done <&3
  kill -TERM "$server"
  while [ "$tenths" -gt 0 ] && kill -0 "$server"; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
  kill -KILL "$server"
} 2>/dev/null &
wait "$server"
`

/** Rejects with the operating system's error where no shell can be started. */
export async function startGuarded(options: GuardedOptions): Promise<GuardedProcess> {
  const log = openSync(options.logPath, 'w')
  const tenths = String(Math.ceil(options.stopGraceMs / 100))
  const child = spawn('/bin/sh', ['-c', guardScript, 'millrace-guard', tenths, options.file, ...options.args], {
    cwd: options.cwd,
    env: options.environment,
    stdio: ['pipe', log, log],
    detached: true,
  })
  closeSync(log)
  const { stdin, pid } = child
  if (stdin === null) throw new Error('A piped stdin exists')
  // Without a listener, a pipe that breaks because the shell died would end this process; `ended` reports that.
  stdin.on('error', () => stdin.destroy())
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      stdin.destroy()
      // The shell may have been killed alone: the rest of its group is killed too.
      if (pid !== undefined) killGroup(pid)
      resolve(signal === null ? `exit code ${code}` : `signal ${signal}`)
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
  if (pid === undefined) throw new Error('A spawned process has a pid')
  await writeFile(options.groupPath, `${pid}\n`)

  let stopping: Promise<void> | undefined
  const stop = async (): Promise<void> => {
    child.ref()
    stdin.end()
    const lastResort = setTimeout(() => killGroup(pid), options.stopGraceMs + 2_000)
    await ended
    clearTimeout(lastResort)
  }
  return {
    ended,
    stop: () => {
      stopping ??= stop()
      return stopping
    },
    release: () => {
      child.unref()
      // A piped stdin of a child is a socket at run time.
      const pipe = stdin as unknown as Socket
      pipe.unref()
    },
  }
}

/** SIGKILL to a whole process group; one that has already ended is no failure. */
export function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL')
  } catch (error) {
    // macOS answers EPERM for a group of which only zombies are left.
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'ESRCH' && code !== 'EPERM') throw error
  }
}
