/**
 * Ends servers and removes folders that a former start left behind; called by `local-servers.ts` before it starts
 * anything.
 */

import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { isAlive, listProcesses, ownerIsGone } from './processes.ts'

const stopMsMax = 15_000
const pollEveryMs = 200

interface Surroundings {
  readonly environment: NodeJS.ProcessEnv
  readonly printLine: (line: string) => void
}

/**
 * Stops the process groups noted in `folder` that still run. Normally there are none: each server is guarded and ends
 * with its parent, but it may still be shutting down. A process counts as ours only while its command line names
 * `folder`, because process ids are reused. Error: `server_failed` where a group lives and `ps` is
 * missing, so that its owner cannot be determined.
 */
export async function stopLeftovers(folder: string, { environment, printLine }: Surroundings): Promise<void> {
  const notes = (await readdir(folder)).filter((name) => name.endsWith('.group'))
  for (const note of notes) {
    const path = join(folder, note)
    const group = Number.parseInt(await readFile(path, 'utf8'), 10)
    if (group > 1 && isAlive(-group)) {
      const ours = () => ownProcesses(group, folder, path, environment)
      if ((await ours()).length > 0) {
        await stopProcesses(ours)
        printLine(`Stopped a server that a former start left behind (process group ${group}, noted in ${path})`)
      }
    }
    await rm(path, { force: true })
  }
}

async function ownProcesses(
  group: number,
  folder: string,
  notedIn: string,
  environment: NodeJS.ProcessEnv,
): Promise<readonly number[]> {
  const listed = await listProcesses(environment)
  if (listed === undefined) {
    throw new PipelineError(
      'server_failed',
      `Process group ${group}, noted in ${notedIn}, may be a server of a former start, ` +
        `and without a POSIX "ps" command it cannot be known. ` +
        `Stop it if it is one, then remove ${notedIn} and start again.`,
      { details: { notedIn, group } },
    )
  }
  return listed.filter((own) => own.group === group && own.command.includes(folder)).map((own) => own.pid)
}

/** SIGTERM, and SIGKILL to what is still there after `stopMsMax`. */
async function stopProcesses(listOwn: () => Promise<readonly number[]>): Promise<void> {
  const killAtMs = performance.now() + stopMsMax
  let own = await listOwn()
  for (const pid of own) sendSignal(pid, 'SIGTERM')
  while (own.length > 0) {
    const late = performance.now() > killAtMs
    if (late) for (const pid of own) sendSignal(pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, pollEveryMs))
    own = await listOwn()
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It has ended in the meantime.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Removes the folders of test runs and unfinished downloads whose process is gone, its servers first. */
export async function sweepFolder(folder: string, around: Surroundings): Promise<void> {
  for (const name of await readdir(folder)) {
    const pid = /^(?:test|\.partial)-(\d+)-/.exec(name)?.[1]
    if (pid === undefined) continue
    const path = join(folder, name)
    const marker = await stat(path).catch((error: NodeJS.ErrnoException) => {
      // Another process removes the same folder.
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (marker === undefined || !(await ownerIsGone(Number(pid), marker.mtimeMs, around.environment))) continue
    if (name.startsWith('test-')) await stopLeftovers(path, around)
    await rm(path, { recursive: true, force: true })
  }
}
