/**
 * Where the servers are that a process has started on this machine: their addresses go into a file of the folder as long as the process
 * runs, and come out for the commands beside it. Written by `local-servers.ts`, read by `program.ts`.
 */
import { readFileSync, rmSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { isAlive } from './processes.ts'

export interface RunningServers {
  /** Absent: given to that process, which did not start it. */
  readonly kafkaBrokers?: string
  readonly redisUrl?: string
}

const fileIn = (folder: string) => join(folder, 'servers', 'running.json')

/** What is returned takes the file away. */
export async function recordRunningServers(folder: string, servers: RunningServers): Promise<() => void> {
  const file = fileIn(folder)
  // Whole or not there: commands read it at any time.
  await writeFile(`${file}.part`, `${JSON.stringify({ process: process.pid, ...servers })}\n`)
  await rename(`${file}.part`, file)
  return () => rmSync(file, { force: true })
}

/** Null where no process runs that has started servers with this folder. */
export function findRunningServers(folder: string): RunningServers | null {
  const file = fileIn(folder)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  const { process: pid, kafkaBrokers, redisUrl } = recorded(file, text)
  // Of a process that was killed the file stays behind.
  if (!isAlive(pid)) return null
  return { ...(kafkaBrokers ? { kafkaBrokers } : {}), ...(redisUrl ? { redisUrl } : {}) }
}

type Recorded = RunningServers & { readonly process: number }

function recorded(file: string, text: string): Recorded {
  try {
    const found = JSON.parse(text) as Recorded
    if (Number.isSafeInteger(found.process) && found.process > 0) return found
  } catch (cause) {
    throw unreadable(file, cause)
  }
  throw unreadable(file)
}

/** A machine that stopped at once may leave an empty file. */
function unreadable(file: string, cause?: unknown): PipelineError {
  const sentence = `${file} should hold the addresses of servers that a process has started, and does not. Remove it.`
  return new PipelineError('server_failed', sentence, { cause })
}
