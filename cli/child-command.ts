/**
 * Another `millrace` command as a process of its own, which ends when this one does, however this one ends. Called by `start`, so that
 * scoring, training and the load generator do not share a thread.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { codeFolder, isCompiled } from '../runtime/package-folder.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'

export interface ChildCommand {
  /** Resolves with exit code 0, rejects with a sentence otherwise. */
  readonly done: Promise<void>
  /** Asks it to stop and waits for it. */
  stop(): Promise<void>
}

/** The command as this process runs it: compiled, or from its sources and with what lets a Node that strips no types run them. */
const main = isCompiled
  ? [join(codeFolder, 'cli/main.js')]
  : ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href, join(codeFolder, 'cli/main.ts')]

/** `nodeOptions`: those that Node takes on its command line only. */
export function startCommandProcess(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  nodeOptions: readonly string[] = [],
): ChildCommand {
  // A group of its own: the terminal's Ctrl-C is for this process, which then stops the child. The IPC channel
  // closes when this process has ended, which ends the child.
  const child = spawn(process.execPath, [...nodeOptions, ...main, ...args], {
    env: { ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    detached: true,
  })
  let isStopping = false
  const done = ended(child, args[0]!, () => isStopping)
  // The failure reaches the caller that awaits `done`; until then it must not be an unhandled rejection.
  done.catch(() => undefined)
  return {
    done,
    async stop() {
      isStopping = true
      child.kill('SIGTERM')
      await done
    },
  }
}

function ended(child: ChildProcess, name: string, isStopping: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      if (code === 0 || isStopping()) resolve()
      else
        reject(
          new PipelineError(
            'usage',
            `millrace ${name} ended with ${signal ?? `exit code ${code}`}; see its output above.`,
          ),
        )
    })
  })
}
